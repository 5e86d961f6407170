/**
 * Who has which address of a range, and until when.
 *
 * A client gets back the address that it had, as long as nobody else needed it. Looking for a free
 * address takes the same short time however full the range is: clients are strangers, and may ask as
 * often as they like under as many names.
 *
 * @module
 */

/** What an address is to its client. */
type LeaseState =
  /** Offered, for a short time. */
  | "offered"
  /** In use. */
  | "bound"
  /** Found to be in use by somebody else; nobody gets it for a while. */
  | "declined"
  /** Given back; still the client's if it comes again and nobody has taken it. */
  | "idle";

/** One address that was given out. */
export interface Lease {
  /** The address as a number. */
  readonly address: number;
  /** The client; changes when another one takes the address over. */
  client: string;
  /** What it is to the client. */
  state: LeaseState;
  /** When that ends, in seconds. */
  end: number;
}

/** What a range of addresses is made of. */
export interface LeasesOptions {
  /** First address as a number. */
  readonly first: number;
  /** Last address as a number. */
  readonly last: number;
  /** Seconds of a lease. */
  readonly leaseSeconds: number;
}

/** How long an offer holds. Clients choose within seconds. */
export const OFFER_SECONDS = 30;

/** The addresses of a range. Time is given with each call, in seconds of any clock. */
export class Leases {
  readonly #options: LeasesOptions;
  readonly #byAddress = new Map<number, Lease>();
  readonly #byClient = new Map<string, Lease>();
  /** By state, what ends first comes first: all of a state hold for the same time. */
  readonly #queues: Readonly<Record<LeaseState, Set<Lease>>> = {
    ...{ offered: new Set(), bound: new Set(), declined: new Set(), idle: new Set() },
  };
  /** No address from here on was ever given out by turns. */
  #unused: number;

  /** @param options The range. */
  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#unused = options.first;
  }

  /** The lease that a client has or had; null when it never had one, or lost it. */
  of(client: string): Lease | null {
    return this.#byClient.get(client) ?? null;
  }

  /** The lease by which a client may use an address now; null when it has none. */
  binding(client: string, now: number): Lease | null {
    const lease = this.of(client);
    return lease?.state === "bound" && lease.end > now ? lease : null;
  }

  /** Whether an address is one of the range. */
  includes(address: number): boolean {
    return address >= this.#options.first && address <= this.#options.last;
  }

  /**
   * Finds an address for a client and keeps it for a short time (RFC 2131, 4.3.1): the one that it
   * has or had, else the one that it wants, else any.
   *
   * @param client Who asks.
   * @param wanted The address that it wants, or null.
   * @param now The time.
   * @returns Its lease; null when the range is exhausted.
   */
  offer(client: string, wanted: number | null, now: number): Lease | null {
    // An offer does not take away what the client uses.
    const bound = this.binding(client, now);
    if (bound !== null) return bound;
    const lease = this.of(client) ?? this.#take(client, wanted, now);
    if (lease !== null) this.#move(lease, "offered", now + OFFER_SECONDS);
    return lease;
  }

  /**
   * Assigns an address to a client that uses none, if it is free; to be bound at once.
   *
   * @param client Who asks.
   * @param address Which.
   * @param now The time.
   * @returns The lease; null when the address is another's or not of the range.
   */
  adopt(client: string, address: number, now: number): Lease | null {
    if (this.binding(client, now) !== null || !this.#isFree(address, now)) return null;
    return this.#assign(client, address);
  }

  /** Begins or renews the use of an address. */
  bind(lease: Lease, now: number): void {
    this.#move(lease, "bound", now + this.#options.leaseSeconds);
  }

  /** Ends the use of an address; its client gets it again if nobody else needs it meanwhile. */
  release(lease: Lease, now: number): void {
    this.#move(lease, "idle", now);
  }

  /** Takes an address out of use that somebody else was found to have, and parts it from its client. */
  decline(lease: Lease, now: number): void {
    this.#byClient.delete(lease.client);
    this.#move(lease, "declined", now + this.#options.leaseSeconds);
  }

  #take(client: string, wanted: number | null, now: number): Lease | null {
    const address = wanted !== null && this.#isFree(wanted, now) ? wanted : this.#findFree(now);
    return address === null ? null : this.#assign(client, address);
  }

  #isFree(address: number, now: number): boolean {
    if (!this.includes(address)) return false;
    const lease = this.#byAddress.get(address);
    return lease === undefined || lease.end <= now;
  }

  // Addresses that nobody ever had come first, so that clients find theirs again for long.
  #findFree(now: number): number | null {
    while (this.#unused <= this.#options.last) {
      const address = this.#unused++;
      if (!this.#byAddress.has(address)) return address;
    }
    for (const state of ["idle", "offered", "declined", "bound"] as const) {
      const [oldest] = this.#queues[state];
      if (oldest !== undefined && oldest.end <= now) return oldest.address;
    }
    return null;
  }

  #assign(client: string, address: number): Lease {
    const before = this.#byAddress.get(address);
    if (before !== undefined) {
      if (this.of(before.client) === before) this.#byClient.delete(before.client);
      this.#queues[before.state].delete(before);
    }
    const lease: Lease = { address, client, state: "idle", end: 0 };
    this.#byAddress.set(address, lease);
    this.#byClient.set(client, lease);
    this.#queues.idle.add(lease);
    return lease;
  }

  #move(lease: Lease, state: LeaseState, end: number): void {
    this.#queues[lease.state].delete(lease);
    lease.state = state;
    lease.end = end;
    this.#queues[state].add(lease);
  }
}
