/** Attributes of the system are for those whose roles include them. */
import t, { type Test } from 'tap'
import { SubdocDocFlag, SubdocPathFlag } from '../../../protocol/commands/index.ts'
import { Datatype } from '../../../protocol/datatype.ts'
import { Feature } from '../../../protocol/feature.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import { Status } from '../../../protocol/status.ts'
import { serve } from '../../server/harness.ts'
import { committed } from '../../support/bucket.ts'
import { logIn } from '../../support/log-in.ts'
import { SubdocClient } from './client.ts'

const { subdocCounter, subdocDelete, subdocDictUpsert, subdocGet } = Opcode
const { subdocReplaceBodyWithXattr } = Opcode
const { xattr } = SubdocPathFlag
const password = 'secret'
const rights = ['read[default]', 'write[default]']
const users = [
  { name: 'application', password, roles: rights },
  { name: 'gateway', password, roles: [...rights, 'system[default]'] },
  { name: 'writer', password, roles: ['write[default]'] },
  { name: 'saver', password, roles: ['backup[default]'] },
]

/** A document with one attribute of each kind. */
async function scene(t: Test) {
  const served = await serve(t, { users })
  const as = async (name: string) => {
    const one = new SubdocClient(await served.client())
    await one.hello(Feature.xattr, Feature.xerror, Feature.json, Feature.randomKeyXattr)
    t.equal(await logIn(one.client, name, password), Status.success)
    const selected = await one.client.call({ opcode: Opcode.selectBucket, key: 'default' })
    t.equal(selected.status, Status.success)
    return one
  }
  const gateway = await as('gateway')
  await gateway.set('{"body":1}')
  t.equal(await gateway.xattr(subdocDictUpsert, '_sync', '{"rev":"1"}'), 'success')
  t.equal(await gateway.xattr(subdocDictUpsert, 'mark', '"ours"'), 'success')
  return { ...served, as, gateway }
}

t.test('who may read and write sees and changes attributes of users alone', async t => {
  const { as, gateway } = await scene(t)
  const one = await as('application')
  t.equal(await one.xattr(subdocGet, 'mark'), 'success "ours"')
  t.equal(await one.xattr(subdocGet, '_sync'), 'accessDenied')
  t.equal(await one.xattr(subdocGet, '_sync.rev'), 'accessDenied')
  t.equal(await one.xattr(subdocGet, '_none'), 'accessDenied', 'nor whether there is one')
  t.same(
    await one.lookup([
      [subdocGet, '_sync', '', xattr],
      [subdocGet, 'body'],
    ]),
    ['accessDenied'],
  )
  t.equal(await one.xattr(subdocGet, '$XTOC'), 'success ["mark"]')
  t.equal(await gateway.xattr(subdocGet, '$XTOC'), 'success ["_sync","mark"]')
  t.equal(await one.xattr(subdocDictUpsert, '_sync.rev', '"2"'), 'accessDenied')
  t.equal(await one.xattr(subdocDelete, '_sync'), 'accessDenied')
  t.equal(await one.xattr(subdocCounter, '_n', '1'), 'accessDenied')
  t.equal(await one.xattr(subdocReplaceBodyWithXattr, '_sync'), 'accessDenied')
  const changes = [
    [subdocDictUpsert, '_sync.rev', '"2"', xattr],
    [subdocDictUpsert, 'body', '2'],
  ] as const
  t.same(await one.mutate(changes), ['accessDenied'])
  t.equal(await gateway.xattr(subdocGet, '_sync.rev'), 'success "1"', 'nothing has changed')
  t.equal(await gateway.get(), 'success {"body":1}')
  const denied = await one.frame(subdocGet, '_sync', '', { pathFlags: xattr })
  t.match(JSON.parse(denied.value().toString()), { error: { context: /attributes of the system/ } })
})

t.test('the role for them needs the others beside it; backups have all', async t => {
  const { as, gateway } = await scene(t)
  t.equal(await gateway.xattr(subdocCounter, '_n', '2'), 'success 2')
  t.equal(await gateway.xattr(subdocDelete, '_n'), 'success')
  const saver = await as('saver')
  t.equal(await saver.xattr(subdocGet, '_sync.rev'), 'success "1"')
  t.equal(await saver.xattr(subdocDictUpsert, '_saved', 'true'), 'success')
  const writer = await as('writer')
  t.equal(await writer.xattr(subdocDictUpsert, 'mark', '1'), 'success')
  t.equal(await writer.xattr(subdocDictUpsert, '_sync.rev', '1'), 'accessDenied')
})

t.test('storing and deleting a document keeps them, whoever does it', async t => {
  const { as, gateway } = await scene(t)
  const one = await as('application')
  t.equal((await one.set('{"body":2}')).status, Status.success)
  t.equal(await gateway.xattr(subdocGet, '_sync.rev'), 'success "1"')
  t.equal((await one.remove()).status, Status.success)
  const deleted = { docFlags: SubdocDocFlag.accessDeleted }
  t.equal(await gateway.xattr(subdocGet, '_sync.rev', '', deleted), 'subdocSuccessDeleted "1"')
  t.equal(await one.xattr(subdocGet, '_sync.rev', '', deleted), 'accessDenied')
})

t.test('scans and random keys that bring all attributes are for them alone', async t => {
  const { as, gateway, bucket } = await scene(t)
  await committed(bucket)
  const one = await as('application')
  const scan = (more: object) => ({
    opcode: Opcode.rangeScanCreate,
    value: JSON.stringify({ sampling: { samples: 1 }, ...more }),
    datatype: Datatype.json,
  })
  const withXattrs = { include_xattrs: true }
  t.equal((await one.client.call(scan({}))).status, Status.success)
  t.equal((await one.client.call(scan(withXattrs))).status, Status.accessDenied)
  t.equal((await gateway.client.call(scan(withXattrs))).status, Status.success)
  const random = { opcode: Opcode.getRandomKey, extras: Buffer.of(0, 0, 0, 0, 1) }
  t.equal((await one.client.call(random)).status, Status.accessDenied)
  t.equal((await gateway.client.call(random)).datatype & Datatype.xattr, Datatype.xattr)
  const plain = { ...random, extras: Buffer.of(0, 0, 0, 0, 0) }
  t.equal((await one.client.call(plain)).status, Status.success)
})
