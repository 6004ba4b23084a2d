import { NodeClient, type NodeClientOptions } from './node-client.ts'

/** A client of the node itself, in a bucket only if it is told to be. */
export class ManagementClient extends NodeClient {
  static async connect(options: NodeClientOptions): Promise<ManagementClient> {
    const [connection, features] = await NodeClient.introduce(options)
    return new ManagementClient(connection, features)
  }
}
