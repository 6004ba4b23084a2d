/**
 * Streams all of a bucket as a backup asks for it, and keeps nothing; prints how many changes there were.
 * Arguments: the port of the daemon.
 */
import { DcpClient, isChange } from '../../src/client/index.ts'

const mebibyte = 1024 * 1024
const client = await DcpClient.connect({
  port: Number(process.argv[2]),
  name: `discard ${process.pid}`,
  until: 'now',
  openStreamsMax: 4,
  bufferBytes: 20 * mebibyte,
  queueBytesMax: 16 * mebibyte,
  includeXattrs: true,
})
let changes = 0
for await (const event of client.events()) if (isChange(event)) changes++
await client.close()
process.stdout.write(`${JSON.stringify({ changes })}\n`)
