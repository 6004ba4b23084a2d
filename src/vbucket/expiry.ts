/** Expiry as the memcached protocol has it. All times in seconds. */

const relativeMax = 30 * 24 * 3600

/**
 * The absolute expiry that a client asked for: 0 never, up to 30 days from now, anything greater
 * a time since the epoch.
 */
export function absoluteExpiry(asked: number, nowSeconds: number): number {
  return asked === 0 || asked > relativeMax ? asked : nowSeconds + asked
}

export function isExpired(expiry: number, nowSeconds: number): boolean {
  return expiry !== 0 && expiry <= nowSeconds
}
