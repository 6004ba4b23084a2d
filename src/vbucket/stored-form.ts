/**
 * In which form a value that a client sends is stored: compressed or plain, marked as JSON or not.
 * Everything that stores a value asks here, so that what is stored is always what it says it is.
 *
 *   compression   sent compressed                      sent plain
 *   off           expanded                             as it is
 *   passive       as it is, if that saves enough       as it is
 *   active        as it is, if that saves enough       compressed, if that saves enough
 */
import { Datatype } from '../../protocol/datatype.ts'
import { Status } from '../../protocol/status.ts'
import { xattrBytes } from '../storage/plain-value.ts'
import { compress, expand, expandedLength } from '../storage/snappy.ts'
import { isJson } from './json-text.ts'
import { hasWholeXattrs } from './xattr-section.ts'

/** Times that a stored value must be smaller than it is plain: less is not worth expanding it. */
const ratioMin = 1.2

export interface StoredFormOptions {
  readonly compression: 'off' | 'passive' | 'active'
  /** Look whether values are JSON; otherwise their datatype is believed. */
  readonly detectJson: boolean
  readonly valueBytesMax: number
}

export class StoredForm {
  /** What `take` has found: valid until it is called again. */
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  length = 0
  datatype = 0
  readonly #options: StoredFormOptions
  readonly #isActive: boolean
  /** The JSON bit of what is stored says what is so, not what somebody has claimed. */
  readonly detectsJson: boolean

  constructor(options: StoredFormOptions) {
    this.#options = options
    this.#isActive = options.compression === 'active'
    this.detectsJson = options.detectJson
  }

  /**
   * Finds the form for a value that came with `datatype`. Otherwise tooLarge, invalidArguments when
   * it is not the Snappy block that it is said to be, xattrInvalid.
   */
  take(bytes: Buffer, start: number, length: number, datatype: number): Status {
    const status = this.takePlain(bytes, start, length, datatype)
    if (status !== Status.success) return status
    if (this.detectsJson) {
      this.datatype = this.withJson(this.bytes, this.start, this.length, this.datatype)
    }
    if ((datatype & Datatype.snappy) !== 0) this.#keepBlock(bytes, start, length)
    else if (this.#isActive) this.#compress()
    return Status.success
  }

  /** The same for what is to be plain: it is added to something else, or nobody would expand it. */
  takePlain(bytes: Buffer, start: number, length: number, datatype: number): Status {
    this.bytes = bytes
    this.start = start
    this.length = length
    this.datatype = datatype
    if ((datatype & (Datatype.snappy | Datatype.xattr)) !== 0) return this.#lookInside()
    return length > this.#options.valueBytesMax ? Status.tooLarge : Status.success
  }

  /** The same for a value that `take` has taken, with attributes put in front of it: plain, too. */
  takeBehind(
    xattrs: Uint8Array,
    value: { value: Buffer; valueStart: number; valueLength: number; datatype: number },
  ): void {
    const json = this.datatype & Datatype.json
    this.takePlain(value.value, value.valueStart, value.valueLength, value.datatype)
    const { bytes, start, length } = this
    this.bytes = Buffer.concat([xattrs, bytes.subarray(start, start + length)])
    this.start = 0
    this.length = this.bytes.length
    this.datatype = json | Datatype.xattr
  }

  /** The datatype of a plain value, its JSON bit set right if values are looked at. */
  withJson(bytes: Buffer, start: number, length: number, datatype: number): number {
    if (!this.detectsJson) return datatype
    const attributes = xattrBytes(bytes, start, length, datatype)
    return isJson(bytes, start + attributes, length - attributes)
      ? datatype | Datatype.json
      : datatype & ~Datatype.json
  }

  #lookInside(): Status {
    if ((this.datatype & Datatype.snappy) !== 0) {
      const status = this.#expand()
      if (status !== Status.success) return status
    }
    const { bytes, start, length, datatype } = this
    if (length > this.#options.valueBytesMax) return Status.tooLarge
    const isWhole = (datatype & Datatype.xattr) === 0 || hasWholeXattrs(bytes, start, length)
    return isWhole ? Status.success : Status.xattrInvalid
  }

  /** Before memory is taken for it, it is seen whether what the block stands for may be stored. */
  #expand(): Status {
    const { bytes, start, length } = this
    const plainBytes = expandedLength(bytes, start, length)
    if (plainBytes > this.#options.valueBytesMax) return Status.tooLarge
    const expanded = plainBytes < 0 ? undefined : expand(bytes, start, length)
    if (expanded === undefined) return Status.invalidArguments
    this.bytes = expanded
    this.start = 0
    this.length = expanded.length
    this.datatype &= ~Datatype.snappy
    return Status.success
  }

  /** Stores the block that came, if that saves enough. */
  #keepBlock(bytes: Buffer, start: number, length: number): void {
    if (this.#options.compression === 'off' || this.length < length * ratioMin) return
    this.bytes = bytes
    this.start = start
    this.length = length
    this.datatype |= Datatype.snappy
  }

  #compress(): void {
    const block = compress(this.bytes, this.start, this.length, ratioMin)
    if (block === undefined) return
    this.bytes = block
    this.start = 0
    this.length = block.length
    this.datatype |= Datatype.snappy
  }
}
