import { connect, type Socket } from 'node:net'
import type { Fault, ProxyCounters } from './faulty-proxy.ts'

/** One connection through the proxy: two sockets, two directions, and the faults still to come. */
export class FaultyLink {
  /** False once cut or half-open. */
  forwarding = true
  onClosed: () => void = () => {}
  readonly #client: Socket
  readonly #server: Socket
  readonly #toClient: Direction
  readonly #toServer: Direction
  readonly #byBytes: Fault[]
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #counters: ProxyCounters

  constructor(
    client: Socket,
    targetPort: number,
    faults: readonly Fault[],
    counters: ProxyCounters,
  ) {
    this.#client = client
    this.#counters = counters
    this.#server = connect({
      host: '127.0.0.1',
      port: targetPort,
      noDelay: true,
      allowHalfOpen: true,
    })
    client.setNoDelay(true)
    this.#byBytes = faults
      .filter(fault => fault.afterBytes !== undefined)
      .sort((one, other) => one.afterBytes! - other.afterBytes!)
    this.#toClient = new Direction(this.#server, client, () => this.#bytesUntilFault(), {
      forwarded: bytes => {
        counters.bytesToClient += bytes
      },
      reached: () => this.#strikeByBytes(),
    })
    this.#toServer = new Direction(client, this.#server, () => Infinity, {
      forwarded: bytes => {
        counters.bytesToServer += bytes
      },
      reached: () => {},
    })
    for (const [source, target] of [
      [this.#server, client],
      [client, this.#server],
    ] as const) {
      source.on('error', () => {})
      source.on('close', failed => this.#sideClosed(failed, target))
    }
    for (const fault of faults) {
      if (fault.afterBytes === undefined)
        this.#after(fault.afterMs ?? 0, () => {
          if (this.forwarding) this.apply(fault)
        })
    }
    client.resume()
  }

  apply(fault: Fault): void {
    this.#counters[fault.kind]++
    switch (fault.kind) {
      case 'cut':
        this.destroy()
        break
      case 'half-open':
        this.#stopForwarding()
        this.#server.pause()
        reset(this.#client)
        break
      case 'stall':
        this.#hold(true)
        this.#after(fault.durationMs ?? 50, () => this.#hold(false))
        break
      case 'trickle':
        this.#trickle(fault)
        break
    }
  }

  /** Resets both sides. */
  destroy(): void {
    this.#stopForwarding()
    reset(this.#client)
    reset(this.#server)
  }

  #bytesUntilFault(): number {
    const next = this.#byBytes[0]
    return next ? next.afterBytes! - this.#toClient.bytes : Infinity
  }

  #strikeByBytes(): void {
    const fault = this.#byBytes.shift()
    if (!fault || !this.forwarding) return
    // What went out before the fault must arrive: a reset would drop it from the send queue.
    this.#toClient.whenSent(() => {
      if (this.forwarding) this.apply(fault)
    })
  }

  #hold(held: boolean): void {
    this.#toClient.hold(held)
    this.#toServer.hold(held)
  }

  #trickle(fault: Fault): void {
    const directions = [this.#toClient, this.#toServer]
    const timer = setInterval(() => {
      for (const direction of directions) direction.grant(fault.bytesPerTick ?? 512)
    }, fault.tickMs ?? 5)
    this.#timers.add(timer)
    for (const direction of directions) direction.ration(true)
    this.#after(fault.durationMs ?? 50, () => {
      clearInterval(timer)
      for (const direction of directions) direction.ration(false)
    })
  }

  #after(delayMs: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, delayMs)
    this.#timers.add(timer)
  }

  #stopForwarding(): void {
    this.forwarding = false
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.#hold(true)
  }

  /** A reset goes on to the other side; a regular end does so behind the bytes before it. */
  #sideClosed(failed: boolean, other: Socket): void {
    if (failed && this.forwarding) {
      this.#stopForwarding()
      reset(other)
    }
    if (this.#client.closed && this.#server.closed) this.onClosed()
  }
}

/**
 * A socket whose end is still on its way cannot be reset: libuv refuses, and Node would keep a
 * handle that it neither closes nor, at exit, stops waiting for.
 */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}

interface DirectionEvents {
  forwarded(bytes: number): void
  /** The next fault's byte has been written. */
  reached(): void
}

/** Forwards from one socket to the other, as far as faults and the receiver let it. */
class Direction {
  bytes = 0
  readonly #source: Socket
  readonly #target: Socket
  readonly #limit: () => number
  readonly #events: DirectionEvents
  #waiting: Buffer[] = []
  #ended = false
  /** Overlapping stalls: forwards only when none holds. */
  #holds = 0
  #blocked = false
  #allowance = Infinity
  #rations = 0

  constructor(source: Socket, target: Socket, limit: () => number, events: DirectionEvents) {
    this.#source = source
    this.#target = target
    this.#limit = limit
    this.#events = events
    source.on('data', (chunk: Buffer) => {
      this.#waiting.push(chunk)
      this.#pump()
    })
    source.on('end', () => {
      this.#ended = true
      this.#pump()
    })
    target.on('drain', () => {
      this.#blocked = false
      this.#pump()
    })
  }

  hold(held: boolean): void {
    this.#holds += held ? 1 : -1
    this.#pump()
  }

  ration(on: boolean): void {
    this.#rations += on ? 1 : -1
    this.#allowance = this.#rations > 0 ? 0 : Infinity
    this.#pump()
  }

  grant(bytes: number): void {
    if (this.#rations === 0) return
    this.#allowance += bytes
    this.#pump()
  }

  whenSent(run: () => void): void {
    this.hold(true)
    this.#target.write('', () => {
      run()
      this.hold(false)
    })
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#holds === 0 && !this.#blocked && this.#allowance > 0) {
      const chunk = this.#waiting[0]!
      const length = Math.min(chunk.length, this.#limit(), this.#allowance)
      if (length === chunk.length) this.#waiting.shift()
      else this.#waiting[0] = chunk.subarray(length)
      if (length > 0) this.#forward(chunk.subarray(0, length))
      if (this.#limit() <= 0) this.#events.reached()
    }
    if (this.#waiting.length > 0) this.#source.pause()
    else if (this.#holds === 0) this.#source.resume()
    if (this.#ended && this.#waiting.length === 0 && this.#holds === 0) this.#target.end()
  }

  #forward(part: Buffer): void {
    this.bytes += part.length
    this.#allowance -= part.length
    this.#events.forwarded(part.length)
    if (!this.#target.write(part)) this.#blocked = true
  }
}
