import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  clientProof,
  decodeClientFinal,
  decodeClientFirst,
  decodePlain,
  decodeServerFinal,
  decodeServerFirst,
  encodeClientFinal,
  encodeClientFirst,
  encodePlain,
  encodeServerFinal,
  escapeName,
  isProof,
  saslMechanisms,
  scramKeys,
  scramMechanisms,
  scramSignature,
  unescapeName,
  type ScramMechanism,
} from '../../protocol/sasl/index.ts'
import { anybody } from '../../src/auth/identity.ts'
import { ScramLogin, type ScramUsers } from '../../src/auth/scram-login.ts'
import type { Verifier } from '../../src/auth/user.ts'

interface Dialogue {
  mechanism: ScramMechanism
  serverNonce: string
  salt: string
  iterations: number
  clientFirst: string
  serverFirst: string
  clientFinal: string
  serverFinal: string
}

/** User `user`, password `pencil`: RFC 5802, RFC 7677; the last one computed with Python's hashlib. */
const dialogues: Dialogue[] = [
  {
    mechanism: 'SCRAM-SHA1',
    serverNonce: '3rfcNHYJY1ZVvWVs7j',
    salt: 'QSXCR+Q6sek8bf92',
    iterations: 4096,
    clientFirst: 'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
    serverFirst: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    clientFinal:
      'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    serverFinal: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    mechanism: 'SCRAM-SHA256',
    serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
    iterations: 4096,
    clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    serverFirst:
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    clientFinal:
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
  {
    mechanism: 'SCRAM-SHA512',
    serverNonce: '3rfcNHYJY1ZVvWVs7j',
    salt: 'MDEyMzQ1Njc4OWFiY2RlZg==',
    iterations: 4096,
    clientFirst: 'n,,n=user,r=0x1d 0x71 q9',
    serverFirst: 'r=0x1d 0x71 q93rfcNHYJY1ZVvWVs7j,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096',
    clientFinal:
      'c=biws,r=0x1d 0x71 q93rfcNHYJY1ZVvWVs7j,p=z0EpehIgP2+8rYri2DGKBbzNdg/DxiCWYVi2n5OkbymsVN0n0D4uBgTQsoEPuZ4pxXMK5gMOgdEClXKEHoU8Bw==',
    serverFinal:
      'v=73DvlmebgSys9l2HeWX7Flp7/SJwJf9xOiM7WhWyKsmp4kcxR1BXXqsEqBNFJFGM7xYuJNQeQWhmW/4ED972oA==',
  },
]

async function usersOf({ mechanism, salt, iterations }: Dialogue): Promise<ScramUsers> {
  const bytes = Buffer.from(salt, 'base64')
  const keys = await scramKeys(mechanism, 'pencil', bytes, iterations)
  const verifier: Verifier = { salt: bytes, ...keys }
  const settle = async (_user: string, _verifier: Verifier, isRight: () => boolean) =>
    isRight() ? anybody : undefined
  return { iterations, verifierOf: () => verifier, settle }
}

async function answers(login: ScramLogin, ...messages: string[]): Promise<unknown[]> {
  const given = []
  for (const message of messages) given.push(await login.step(Buffer.from(message)))
  return given
}

const kinds = (given: unknown[]) => given.map(answer => (answer as { kind: string }).kind)

t.test('the dialogues of the RFCs are held word for word', async t => {
  for (const dialogue of dialogues) {
    const { mechanism, serverNonce, clientFirst, serverFirst, clientFinal, serverFinal } = dialogue
    const login = new ScramLogin(mechanism, await usersOf(dialogue), serverNonce)
    t.same(await answers(login, clientFirst, clientFinal), [
      { kind: 'continue', value: serverFirst },
      { kind: 'done', value: serverFinal, identity: anybody },
    ])
  }
})

t.test(
  "a client's proof is the one of the RFCs, and it knows the server by its signature",
  async t => {
    for (const { mechanism, clientFirst, serverFirst, clientFinal, serverFinal } of dialogues) {
      const { nonce, salt, iterations } = decodeServerFirst(serverFirst)!
      const keys = await scramKeys(mechanism, 'pencil', salt, iterations)
      const withoutProof = encodeClientFinal('n,,', nonce)
      const messages = [clientFirst.slice(3), serverFirst, withoutProof].join(',')
      const proof = clientProof(mechanism, keys, messages)
      t.equal(`${withoutProof},p=${proof.toString('base64')}`, clientFinal)
      const signature = scramSignature(mechanism, keys.serverKey, messages)
      t.equal(encodeServerFinal(signature), serverFinal)
      t.same(decodeServerFinal(serverFinal), signature)
      const nonceOf = clientFirst.slice('n,,n=user,r='.length)
      t.same(encodeClientFirst('user', nonceOf), { header: 'n,,', bare: clientFirst.slice(3) })
    }
  },
)

t.test('every change of a dialogue is refused', async t => {
  for (const dialogue of dialogues) {
    const { mechanism, serverNonce, clientFirst, clientFinal } = dialogue
    const users = await usersOf(dialogue)
    const begin = () => new ScramLogin(mechanism, users, serverNonce)
    const last = async (final: string) => kinds(await answers(begin(), clientFirst, final)).at(-1)
    t.equal(await last(clientFinal.replace('c=biws', 'c=eSws')), 'refused', 'another header')
    t.equal(await last(clientFinal.replace(',r=', ',r=a')), 'refused', 'another nonce')
    t.equal(await last(clientFinal.replace(/p=./, 'p=A')), 'refused', 'another proof')
    t.equal(await last(clientFinal.replace(/p=.*/, 'p=AAAA')), 'refused', 'a short proof')
    t.equal(await last(''), 'refused')
    const twice = await answers(begin(), clientFirst, clientFinal, clientFinal)
    t.same(kinds(twice), ['continue', 'done', 'refused'], 'once is enough')
    const first = clientFirst.replace('n,,', 'y,,')
    t.equal(kinds(await answers(begin(), first))[0], 'continue', 'a client that could bind')
    for (const wrong of [
      clientFirst.replace('n,,', 'p=tls-unique,,'),
      clientFirst.replace('n,,', 'n,a=other,'),
      clientFirst.replace('n=user', 'm=must,n=user'),
      clientFirst.replace('n=user', 'n=us=er'),
      clientFirst.replace('n=user', 'n='),
      clientFirst.replace(/r=.*/, 'r='),
      clientFirst.replace(/r=/, 'r=\u00e9'),
      clientFirst.slice(2),
    ]) {
      t.equal(kinds(await answers(begin(), wrong, clientFinal))[0], 'refused', wrong)
    }
  }
})

t.test('names survive with commas and equals signs in them', t => {
  t.equal(escapeName('a,b=c'), 'a=2Cb=3Dc')
  t.equal(unescapeName('a=2cb=3dc'), 'a,b=c')
  t.equal(unescapeName('a=2'), undefined)
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), name => {
      // Half a surrogate pair is no character.
      if (Buffer.from(name).toString() !== name) return true
      const message = Buffer.from(`n,,n=${escapeName(name)},r=nonce`)
      const first = decodeClientFirst(message)
      return first?.user === name && unescapeName(escapeName(name)) === name
    }),
  )
  t.end()
})

t.test('whatever a client sends is decoded or refused, and nobody gets in by it', async t => {
  const [dialogue] = dialogues
  const users = await usersOf(dialogue!)
  const piece = fc.constantFrom(
    'n,,',
    'n=user',
    ',r=',
    'c=biws',
    ',p=',
    '=',
    ',',
    'AAAA',
    '\0',
    'é',
  )
  const text = fc.array(piece).map(pieces => Buffer.from(pieces.join('')))
  const bytes = fc.uint8Array({ maxLength: 64 }).map(array => Buffer.from(array))
  const message = fc.oneof(text, bytes, fc.constant(Buffer.from(dialogue!.clientFirst)))
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 4 }), async messages => {
      decodePlain(messages[0]!)
      decodeClientFinal(messages[0]!)
      decodeServerFirst(messages[0]!.toString())
      const login = new ScramLogin('SCRAM-SHA1', users)
      for (const each of messages) {
        const answer = await login.step(each)
        if (answer.kind === 'done') throw new Error('somebody got in')
      }
    }),
  )
  t.pass('nothing was thrown')
})

t.test('PLAIN has three parts and a name', t => {
  const decoded = { authorization: '', user: 'ü,=', password: 'p ä' }
  t.same(decodePlain(Buffer.from(encodePlain('ü,=', 'p ä'))), decoded)
  t.equal(decodePlain(Buffer.from('\0\0password')), undefined)
  t.equal(decodePlain(Buffer.from('a\0b')), undefined)
  t.equal(decodePlain(Buffer.from('a\0b\0c\0d')), undefined)
  t.equal(decodePlain(Buffer.from([0, 0xff, 0, 0x61])), undefined, 'not UTF-8')
  t.end()
})

t.test('a proof is compared as a whole, and only one of the right length', async t => {
  t.same(saslMechanisms.slice(0, 3), scramMechanisms)
  const keys = await scramKeys('SCRAM-SHA256', 'x', Buffer.alloc(16), 1)
  t.same(keys.storedKey, createHash('sha256').update(keys.clientKey).digest())
  const proof = clientProof('SCRAM-SHA256', keys, 'messages')
  t.ok(isProof('SCRAM-SHA256', proof, keys.storedKey, 'messages'))
  t.notOk(isProof('SCRAM-SHA256', proof, keys.storedKey, 'message'))
  t.notOk(isProof('SCRAM-SHA256', proof.subarray(1), keys.storedKey, 'messages'))
})
