/**
 * A document that is being worked on: its body, and its attributes as one JSON object whose members
 * they are. Both are looked at only when somebody asks for them.
 */
import { Status } from '../../../protocol/status.ts'
import { decodeXattrs, encodeXattrs, type Xattr } from '../../../protocol/xattrs.ts'
import { StatusError } from '../../errors.ts'
import { isJson } from '../../vbucket/json-text.ts'
import { eachElement } from './json-search.ts'
import { unescaped } from './path.ts'

const noAttributes = Buffer.from('{}')

export class Workpiece {
  #body: Buffer
  #bodyIsJson: boolean | undefined
  #isBodyChanged = false
  #section: Buffer
  /** The attributes as an object, once somebody has asked for it. */
  #attributes: Buffer | undefined
  #attributesChanged = false

  constructor(section: Buffer, body: Buffer, bodyIsJson: boolean | undefined) {
    this.#section = section
    this.#body = body
    this.#bodyIsJson = bodyIsJson
  }

  get body(): Buffer {
    return this.#body
  }

  /** Whether the body is JSON; looked at if nobody knows. */
  get bodyIsJson(): boolean {
    return (this.#bodyIsJson ??= isJson(this.#body, 0, this.#body.length))
  }

  /** `isKnown`: it need not be looked at to be JSON. */
  setBody(body: Buffer, isKnown: boolean): void {
    this.#body = body
    this.#bodyIsJson = isKnown ? true : undefined
    this.#isBodyChanged = true
  }

  get isBodyChanged(): boolean {
    return this.#isBodyChanged
  }

  get attributes(): Buffer {
    return (this.#attributes ??= objectOf(this.#section))
  }

  /** A changed object, known to be JSON. */
  setAttributes(attributes: Buffer): void {
    this.#attributes = attributes
    this.#attributesChanged = true
  }

  /** The attributes as they are stored; what no edit has touched is as it was. */
  xattrSection(): Buffer {
    return this.#attributesChanged ? encodeXattrs(xattrsOf(this.attributes)) : this.#section
  }
}

function objectOf(section: Buffer): Buffer {
  if (section.length === 0) return noAttributes
  const xattrs = decodeXattrs(section)
  if (xattrs === undefined) throw malformed()
  const members = xattrs.flatMap(({ key, value }, index) => [
    Buffer.from(`${index === 0 ? '{' : ','}${JSON.stringify(key.toString())}:`),
    value,
  ])
  const object = Buffer.concat([...members, Buffer.from('}')])
  if (!isJson(object, 0, object.length)) throw malformed()
  return object
}

function malformed(): StatusError {
  return new StatusError(Status.xattrInvalid, 'the attributes of the document are malformed')
}

function xattrsOf(object: Buffer): Xattr[] {
  const xattrs: Xattr[] = []
  eachElement(object, 0, (start, end, nameStart, nameEnd) => {
    const name = unescaped(object.subarray(nameStart + 1, nameEnd - 1))
    xattrs.push({ key: Buffer.from(name), value: object.subarray(start, end) })
    return true
  })
  return xattrs
}
