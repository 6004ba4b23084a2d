import { isIPv6 } from 'node:net'

/** Where a node is reached by clients, when that is not where it listens. */
export interface Endpoint {
  readonly host: string
  /** By the names that clients have for services; those left out are the node's own. */
  readonly ports: Readonly<Partial<Record<EndpointService, number>>>
}

const endpointServices = ['kv', 'mgmt', 'kvSSL', 'mgmtSSL'] as const
export type EndpointService = (typeof endpointServices)[number]

/** The address by which a client came, which it knows best itself. */
export const callersEndpoint: Endpoint = { host: '$HOST', ports: {} }

export const noEndpoint: Endpoint = { host: 'none', ports: {} }

/** Reads `HOST` or `HOST,kv=PORT,mgmt=PORT`; undefined for anything else. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const [host = '', ...services] = text.split(',')
  if (!isHost(host)) return undefined
  const ports: Partial<Record<EndpointService, number>> = {}
  for (const service of services) {
    const match = /^(\w+)=(\d{1,5})$/.exec(service)
    const name = endpointServices.find(known => known === match?.[1])
    const port = Number(match?.[2])
    if (name === undefined || ports[name] !== undefined) return undefined
    if (port === 0 || port > 65_535) return undefined
    ports[name] = port
  }
  return { host, ports }
}

/** As it is written in a setting. */
export function formatEndpoint({ host, ports }: Endpoint): string {
  return [host, ...Object.entries(ports).map(([name, port]) => `${name}=${port}`)].join(',')
}

function isHost(text: string): boolean {
  return (
    text === callersEndpoint.host || isIPv6(text) || /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(text)
  )
}
