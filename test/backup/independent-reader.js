#!/usr/bin/env node
// Reads a backup out of an archive in a folder and prints its documents, as lines of JSON.
// Written from docs/backup-format.md; shares nothing with the program that writes archives.
//
//     node independent-reader.js FOLDER REPOSITORY [BACKUP]
//
// The last backup by default. For an encrypted one: KEY_FILE or PASSPHRASE in the environment.
import crypto from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import zlib from 'node:zlib'

const [folder, repository, wanted] = process.argv.slice(2)
const place = path.join(folder, repository)

const assert = (holds, what) => {
  if (!holds) throw new Error(what)
}
const json = (file, format, versionMax = 1) => {
  const content = JSON.parse(fs.readFileSync(file, 'utf8'))
  assert(content.format === format && content.version <= versionMax, `${file}: format`)
  return content
}
const sha256 = bytes => crypto.createHash('sha256').update(bytes).digest()

const crcTable = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})
function crc32c(bytes) {
  let crc = -1
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 0xff]
  return ~crc >>> 0
}

function mayHave(filter, hash) {
  if (filter.length === 0) return true
  const bits = BigInt(filter.length * 8)
  const low32 = number => number & 0xffffffffn
  let h = BigInt(hash)
  for (let probe = 0; probe < 4; probe++) {
    h = low32(h + 0x9e3779b9n)
    h ^= h >> 16n
    h = low32(h * 0x85ebca6bn)
    h ^= h >> 13n
    h = low32(h * 0xc2b2ae35n)
    h ^= h >> 16n
    const bit = Number(h % bits)
    if (((filter[bit >> 3] >> (bit & 7)) & 1) === 0) return false
  }
  return true
}

function unsnappy(bytes) {
  let at = 0
  let length = 0
  for (let shift = 0; ; shift += 7) {
    length += (bytes[at] & 0x7f) * 2 ** shift
    if (bytes[at++] < 0x80) break
  }
  const out = Buffer.alloc(length)
  let end = 0
  while (at < bytes.length) {
    const tag = bytes[at++]
    if ((tag & 3) === 0) {
      let size = tag >>> 2
      if (size >= 60) {
        const count = size - 59
        size = bytes.readUIntLE(at, count)
        at += count
      }
      bytes.copy(out, end, at, at + size + 1)
      at += size + 1
      end += size + 1
      continue
    }
    const kind = tag & 3
    const size = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
    let offset
    if (kind === 1) offset = ((tag >>> 5) << 8) | bytes[at++]
    else {
      offset = bytes.readUIntLE(at, kind === 2 ? 2 : 4)
      at += kind === 2 ? 2 : 4
    }
    assert(offset > 0 && offset <= end, 'snappy: a copy from nowhere')
    for (let count = 0; count < size; count++, end++) out[end] = out[end - offset]
  }
  assert(end === length, 'snappy: length')
  return out
}

const decompress = [bytes => bytes, bytes => zlib.inflateRawSync(bytes), unsnappy]

function decrypt(key, sealed, context) {
  const decipher = crypto.createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12))
  decipher.setAAD(context)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

function openKey({ id, encryption }) {
  if (!encryption) return undefined
  const { secret, sealedKey } = encryption
  let sealing
  if (secret.kind === 'key-file') {
    sealing = fs.readFileSync(process.env.KEY_FILE)
    if (sealing.length !== 32) sealing = Buffer.from(sealing.toString().trim(), 'hex')
  } else {
    const { salt, N, r, p } = secret
    const options = { N, r, p, maxmem: 2 ** 30 }
    const words = process.env.PASSPHRASE.normalize('NFC')
    sealing = crypto.scryptSync(words, Buffer.from(salt, 'base64'), 32, options)
  }
  const context = Buffer.from(`holdfast-backup repository ${id}`)
  return decrypt(sealing, Buffer.from(sealedKey, 'base64'), context)
}

/** Calls `visit` with each record, in order; checks all that the format lets one check. */
function readObject(bytes, described, key, visit) {
  assert(bytes.length === described.size, 'size')
  assert(bytes.toString('latin1', 0, 8) === 'HFBACKUP', 'magic')
  assert(bytes.readUInt16BE(8) === 1, 'version')
  assert(bytes.readUInt16BE(12) === described.vbid, 'vbucket')
  assert(bytes.readUInt32BE(32) === crc32c(bytes.subarray(0, 32)), 'object header')
  assert((bytes[10] === 1) === (key !== undefined), 'cipher')
  const salt = bytes.subarray(16, 32)
  const objectKey =
    key && Buffer.from(crypto.hkdfSync('sha256', key, salt, 'holdfast-backup object', 32))
  const number64 = at => Number(bytes.readBigUInt64BE(at))
  const digests = []
  let at = 36
  let segmentAt = 0
  let indexAt = 0
  let blocks = []
  let records = 0
  let lastSeqno = 0

  while (at < bytes.length) {
    if (bytes.readUInt32BE(at) === 0xffffffff) {
      assert(bytes.toString('latin1', at + 4, at + 8) === 'HFSE', 'trailer')
      assert(bytes.readUInt32BE(at + 40) === crc32c(bytes.subarray(at, at + 40)), 'trailer')
      assert(number64(at + 8) === segmentAt && number64(at + 16) === indexAt, 'trailer offsets')
      assert(number64(at + 24) === records && number64(at + 32) === lastSeqno, 'trailer counts')
      at += 44
      digests.push(sha256(bytes.subarray(segmentAt, at)))
      segmentAt = at
      blocks = []
      continue
    }
    const header = bytes.subarray(at, at + 32)
    assert(bytes.readUInt32BE(at + 32) === crc32c(header), 'block header')
    const storedLength = header.readUInt32BE(0)
    let payload = bytes.subarray(at + 36, at + 36 + storedLength)
    if (objectKey) {
      const offset = Buffer.alloc(8)
      offset.writeBigUInt64BE(BigInt(at))
      payload = decrypt(objectKey, payload, Buffer.concat([offset, header]))
    }
    const raw = decompress[header[9]](payload)
    assert(raw.length === header.readUInt32BE(4), 'raw length')
    if (header[8] === 2) {
      indexAt = at
      const entries = raw.subarray(0, -4)
      assert(raw.readUInt32BE(entries.length) === crc32c(entries), 'index')
      let next = 0
      for (const { block, hashes } of blocks) {
        const entry = entries.subarray(next, next + 40)
        const filter = entries.subarray(next + 40, next + 40 + entry.readUInt32BE(20))
        next += 40 + filter.length
        assert(
          hashes.every(hash => mayHave(filter, hash)),
          'index filter',
        )
        assert(Number(entry.readBigUInt64BE(0)) === block, 'index offset')
        assert(entry.readUInt32BE(8) === bytes.readUInt32BE(block), 'index stored length')
        assert(entry.readUInt32BE(16) === bytes.readUInt32BE(block + 12), 'index records')
        assert(
          entry.subarray(24, 40).equals(bytes.subarray(block + 16, block + 32)),
          'index seqnos',
        )
      }
      assert(next === entries.length, 'index length')
    } else {
      assert(header[8] === 1, 'block kind')
      const hashes = []
      blocks.push({ block: at, hashes })
      let count = 0
      for (let from = 0; from < raw.length; count++) {
        const keyEnd = from + 48 + raw.readUInt16BE(from + 42)
        const end = keyEnd + raw.readUInt32BE(from + 4)
        assert(raw.readUInt32BE(from) === crc32c(raw.subarray(from + 4, end)), 'record')
        const seqno = Number(raw.readBigUInt64BE(from + 8))
        assert(seqno > lastSeqno, 'order of seqnos')
        lastSeqno = seqno
        hashes.push(crc32c(raw.subarray(from + 44, keyEnd)))
        visit({
          kind: raw[from + 40],
          seqno,
          cas: String(raw.readBigUInt64BE(from + 16)),
          revno: Number(raw.readBigUInt64BE(from + 24)),
          flags: raw.readUInt32BE(from + 32),
          time: raw.readUInt32BE(from + 36),
          datatype: raw[from + 41],
          collection: raw.readUInt32BE(from + 44),
          key: raw.toString('latin1', from + 48, keyEnd),
          value: raw.toString('base64', keyEnd, end),
        })
        from = end
      }
      assert(count === header.readUInt32BE(12), 'number of records')
      records += count
    }
    at += 36 + storedLength
  }
  assert(segmentAt === bytes.length, 'no trailer at the end')
  assert(digests.length === described.segments, 'segments')
  assert(sha256(Buffer.concat(digests)).toString('hex') === described.sha256, 'sha256')
}

function readBackup(name, key, documents) {
  const backup = json(path.join(place, name, 'backup.json'), 'holdfast-backup')
  if (backup.previous) readBackup(backup.previous, key, documents)
  const manifestName = backup.manifest.key ?? 'manifest.json'
  const bytes = fs.readFileSync(path.join(place, name, manifestName))
  assert(sha256(bytes).toString('hex') === backup.manifest.sha256, 'manifest')
  if (key) {
    const macKey = crypto.createHmac('sha256', key).update('holdfast-backup manifest').digest()
    const mac = crypto.createHmac('sha256', macKey).update(bytes).digest('hex')
    assert(mac === backup.manifest.mac, 'mac of the manifest')
  }
  const manifest = json(path.join(place, name, manifestName), 'holdfast-backup-manifest', 2)
  for (const object of manifest.objects) {
    const stored = fs.readFileSync(path.join(place, name, object.key))
    // In a pack there are others around it.
    const { offset, size } = object
    const content = offset === undefined ? stored : stored.subarray(offset, offset + size)
    readObject(content, object, key, record => {
      const id = `${object.vbid} ${record.collection} ${record.key}`
      if (record.kind === 1) documents.set(id, { vbid: object.vbid, ...record })
      else documents.delete(id)
    })
  }
  // Without the field there is nothing but the default collection.
  const scopes = manifest.collections?.scopes ?? [{ collections: [{ uid: '0' }] }]
  const ids = scopes.flatMap(scope => scope.collections.map(({ uid }) => parseInt(uid, 16)))
  for (const [id, { collection }] of documents) if (!ids.includes(collection)) documents.delete(id)
}

json(path.join(folder, 'archive.json'), 'holdfast-backup-archive')
const key = openKey(json(path.join(place, 'repository.json'), 'holdfast-backup-repository'))
const complete = fs
  .readdirSync(place)
  .filter(name => fs.existsSync(path.join(place, name, 'backup.json')))
  .sort()
assert(complete.length > 0, 'no complete backup')
const documents = new Map()
readBackup(wanted ?? complete.at(-1), key, documents)
for (const document of documents.values()) process.stdout.write(`${JSON.stringify(document)}\n`)
