import t from 'tap'
import { changesText, countText, durationText, sizeText } from '../../src/cli/sizes.ts'

t.test('what there is one of has no plural', async t => {
  t.equal(countText(0, 'backup'), '0 backups')
  t.equal(countText(1, 'backup'), '1 backup')
  t.equal(countText(2, 'backup'), '2 backups')
  const counts = { mutation: 3, deletion: 1, expiration: 0 }
  t.equal(changesText(counts), '3 mutations, 1 deletion, 0 expirations')
})

t.test('sizes and durations have the unit that suits them', async t => {
  t.equal(sizeText(0), '0 B')
  t.equal(sizeText(1023), '1023 B')
  t.equal(sizeText(1536), '1.5 KiB')
  t.equal(sizeText(300 * 2 ** 20), '300 MiB')
  t.equal(durationText(0.4), '0s')
  t.equal(durationText(75), '1m15s')
  t.equal(durationText(3725), '1h02m')
})
