/** Arbitrary documents, paths and values for the properties of the sub-document engine. */
import fc from 'fast-check'
import { print, type Brought, type Step, type Tree } from './model.ts'

/** Names as JSON may write them; some mean the same. */
const names = [
  'a',
  'b',
  String.raw`\u0061`,
  'ü',
  '€x',
  '😀',
  String.raw`\ud83d\ude00`,
  'a.b',
  '[0]',
].concat(String.raw`\"q`, String.raw`\/`, '/', '`', String.raw`\\`, 'x\u007f', '', ' ')
const numbers = ['0', '-0', '7', '-12', '9223372036854775807', '-9223372036854775808'].concat(
  '9223372036854775808',
  '1e400',
  '1.50',
  '-0.0',
  '2E+3',
  '12345678901234567890123',
)
const strings = ['""', String.raw`"\"\\\u0000"`, '"ü😀"', '"a,]}"', String.raw`"\\"`, '"{"']
const scalars = [...numbers, ...strings, 'true', 'false', 'null']

export const anyScalar = fc.constantFrom(...scalars).map<Tree>(text => ({ kind: 'scalar', text }))

export const anyTree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>(tie => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    anyScalar,
    fc.array(tie('tree'), { maxLength: 4 }).map<Tree>(elements => ({ kind: 'array', elements })),
    fc
      .array(fc.record({ name: fc.constantFrom(...names), value: tie('tree') }), { maxLength: 4 })
      .map<Tree>(members => ({ kind: 'object', members })),
  ),
})).tree

/** White space to be put between tokens, taken in turn. */
export const anySpaces = fc.array(fc.constantFrom('', '', '', ' ', '\n', '\t ', '\r\n  '), {
  minLength: 1,
  maxLength: 7,
})

export function spaceFrom(spaces: readonly string[]): () => string {
  let turn = 0
  return () => spaces[turn++ % spaces.length]!
}

const meaning = (name: string): string => JSON.parse(`"${name}"`) as string

const anyStep = fc.oneof(
  fc.constantFrom(...names.map(meaning), 'new', 'other').filter(name => name !== ''),
  fc.integer({ min: -1, max: 4 }),
)

/** Which child to go to on each level, in percent; beyond that somewhere that may not be. */
const anyWalk = fc.array(fc.tuple(fc.nat(140), anyStep), { maxLength: 4 })

/** A path that mostly leads somewhere. */
export function stepsIn(tree: Tree, walk: readonly (readonly [number, Step])[]): Step[] {
  const steps: Step[] = []
  let at: Tree | undefined = tree
  for (const [percent, otherwise] of walk) {
    const count: number =
      at === undefined || at.kind === 'scalar'
        ? 0
        : at.kind === 'object'
          ? at.members.length
          : at.elements.length
    const index = Math.floor((percent * count) / 100)
    if (at === undefined || at.kind === 'scalar' || index >= count) {
      steps.push(otherwise)
      at = undefined
    } else if (at.kind === 'array') {
      steps.push(index)
      at = at.elements[index]
    } else {
      const { name, value }: { name: string; value: Tree } = at.members[index]!
      // A path cannot name it.
      if (name === '') break
      steps.push(meaning(name))
      at = value
    }
  }
  return steps
}

/** The path as a client writes it. */
export function pathText(steps: readonly Step[]): string {
  return steps
    .map((step, level) => {
      if (typeof step === 'number') return `[${step}]`
      const name = JSON.stringify(step).slice(1, -1)
      const quoted = /[.[\]`]/.test(name) ? `\`${name.replaceAll('`', '``')}\`` : name
      return level === 0 ? quoted : `.${quoted}`
    })
    .join('')
}

const notJson = [
  '',
  ' ',
  'tru',
  '1,',
  ',1',
  '{"a"}',
  '{"a":}',
  '01',
  '+1',
  '1.',
  '"\u0001"',
  '[1,]',
].concat('nul', '"', String.raw`"\x"`, String.raw`"\u12g4"`, '[', '{]', '1 2', '-', '1e', '\u00a01')

const anyBrought: fc.Arbitrary<Brought> = fc.oneof(
  { weight: 4, arbitrary: broughtOf(fc.array(anyTree, { minLength: 1, maxLength: 1 })) },
  { weight: 2, arbitrary: broughtOf(fc.array(anyScalar, { minLength: 1, maxLength: 1 })) },
  { weight: 1, arbitrary: broughtOf(fc.array(anyTree, { minLength: 2, maxLength: 3 })) },
  { weight: 1, arbitrary: fc.constantFrom(...notJson).map(text => ({ text, values: undefined })) },
)

function broughtOf(values: fc.Arbitrary<Tree[]>): fc.Arbitrary<Brought> {
  return fc.tuple(values, anySpaces).map(([trees, spaces]) => {
    const space = spaceFrom(spaces)
    return { text: trees.map(tree => print(tree, space)).join(','), values: trees }
  })
}

const anyDelta = fc.constantFrom('1', '-1', '7', '-12', '9223372036854775807', '0', '1.0', 'x')

/** A document as it is stored, a path, and a value for it, or a number to be added. */
export const anyCase = fc.record({
  delta: anyDelta.map<Brought>(text => ({ text, values: undefined })),
  tree: anyTree,
  spaces: anySpaces,
  walk: anyWalk,
  brought: anyBrought,
  makesParents: fc.boolean(),
})

/** The text without what means nothing. */
export function compact(text: string): string {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"|\s+/g, token => (token.startsWith('"') ? token : ''))
}
