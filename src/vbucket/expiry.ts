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

/** The expiry, not later than a collection allows from now on; `maxTtlSeconds` 0: any. */
export function limitedExpiry(expiry: number, nowSeconds: number, maxTtlSeconds: number): number {
  if (maxTtlSeconds === 0) return expiry
  const limit = Math.min(nowSeconds + maxTtlSeconds, 0xffffffff)
  return expiry === 0 ? limit : Math.min(expiry, limit)
}
