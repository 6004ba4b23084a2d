/** Sub-document requests to begin from, most of which find something to do. */
import {
  encodeSubdocExtras,
  encodeSubdocLookups,
  encodeSubdocMultiExtras,
  encodeSubdocMutations,
  SubdocPathFlag,
} from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { RequestFields } from '../../protocol/requests.ts'
import { commandRows } from '../../src/commands/table.ts'
import type { Seeded } from './seeded.ts'

type Make = (random: Seeded) => Partial<RequestFields>

const jsonPaths = [
  'a',
  'a[0]',
  'a[-1].b',
  'n',
  '[0]',
  '[-1]',
  '',
  '`a.b`.c',
  'a.'.repeat(31),
  '..',
  '[',
]
const xattrPaths = [
  '_sys',
  '_sys.a.b',
  'user',
  'user.list',
  '$document',
  '$document.CAS',
  '$XTOC',
  '$x',
]
const jsonValues = [
  '1',
  '-7',
  '"x"',
  '1,2',
  '{"b":[1,{"c":null}]}',
  '[[]]',
  '{',
  '"${Mutation.CAS}"',
].concat('"${$document}"', '"${Mutation.value_crc32c}"', '[]', ' ')

/** A path, the flags that go with it, and a value, most of which could be asked for. */
function pathParts(random: Seeded) {
  const isXattr = random.oneIn(2)
  const path = Buffer.from(random.pick(isXattr ? xattrPaths : jsonPaths))
  const value = Buffer.from(random.pick(jsonValues))
  const expands = isXattr && value.includes('${') ? SubdocPathFlag.expandMacros : 0
  const makesParents = random.oneIn(2) ? SubdocPathFlag.makeParents : 0
  const pathFlags = (isXattr ? SubdocPathFlag.xattr : 0) | expands | makesParents
  return { path, value, pathFlags }
}

/** Some of the flags contradict each other, most do not. */
function docFlagsOf(random: Seeded, isLookup: boolean): number | undefined {
  if (random.oneIn(2)) return undefined
  return random.pick(isLookup ? [0, 4, 0x14, 0x20] : [1, 2, 4, 5, 9, 0x0a, 0x0e, 0x14, 3, 0x40])
}

const subdocLookups = [Opcode.subdocGet, Opcode.subdocExists, Opcode.subdocGetCount] as const
const subdocMutations = commandRows
  .map(({ opcode }) => opcode)
  .filter(opcode => opcode >= Opcode.subdocDictAdd && opcode <= Opcode.subdocCounter)
  .concat(Opcode.subdocReplaceBodyWithXattr)
const subdocDeletions: readonly number[] = [Opcode.subdocDelete, Opcode.subdocReplaceBodyWithXattr]

function subdocSingle(opcode: Opcode): Make {
  const isLookup = (subdocLookups as readonly number[]).includes(opcode)
  return random => {
    const { path, value, pathFlags } = pathParts(random)
    const { xattr } = SubdocPathFlag
    const takesValue = !isLookup && !subdocDeletions.includes(opcode)
    const extras = encodeSubdocExtras({
      pathLength: path.length,
      pathFlags: takesValue ? pathFlags : pathFlags & xattr,
      expiry: isLookup || random.oneIn(2) ? undefined : random.below(100),
      userFlags: undefined,
      docFlags: docFlagsOf(random, isLookup),
    })
    return { extras, value: takesValue ? Buffer.concat([path, value]) : path }
  }
}

function subdocMulti(isLookup: boolean): Make {
  return random => {
    const count = 1 + random.below(random.oneIn(20) ? 20 : 5)
    const parts = Array.from({ length: count }, () => pathParts(random))
    // Attributes come first.
    parts.sort((one, other) => (other.pathFlags & 4) - (one.pathFlags & 4))
    const whole = isLookup ? Opcode.get : random.pick([Opcode.set, Opcode.add, Opcode.delete])
    const specs = parts.map(({ path, value, pathFlags }) => {
      const opcode = random.pick(isLookup ? subdocLookups : subdocMutations)
      const takesValue = !isLookup && !subdocDeletions.includes(opcode)
      const flags = takesValue ? pathFlags : pathFlags & SubdocPathFlag.xattr
      return { opcode, pathFlags: flags, path, value: takesValue ? value : Buffer.alloc(0) }
    })
    if (random.oneIn(3)) {
      const value = Buffer.from(whole === Opcode.delete ? '' : random.pick(jsonValues))
      specs.push({ opcode: whole as never, pathFlags: 0, path: Buffer.alloc(0), value })
    }
    const docFlags = docFlagsOf(random, isLookup)
    const extras = encodeSubdocMultiExtras({ expiry: undefined, userFlags: undefined, docFlags })
    return { extras, value: isLookup ? encodeSubdocLookups(specs) : encodeSubdocMutations(specs) }
  }
}

/** What is sent in the place of random bytes, by opcode. */
export const subdocRequests: Readonly<Record<number, Make>> = {
  ...Object.fromEntries(
    [...subdocLookups, ...subdocMutations].map(opcode => [opcode, subdocSingle(opcode)]),
  ),
  [Opcode.subdocMultiLookup]: subdocMulti(true),
  [Opcode.subdocMultiMutation]: subdocMulti(false),
}
