/**
 * A small DHCP server (RFC 2131): takes a client's message, answers with one or with nothing. Free of
 * I/O and of a clock. Relays are not served.
 *
 * @module
 */
import { formatMac } from "../ethernet/frame.ts";
import { type Lease, Leases } from "./leases.ts";
import { BOOT_REPLY, BOOT_REQUEST, type DhcpMessage, MessageType } from "./message.ts";
import { Option, type Options } from "./options.ts";

/** What a server gives out. */
export interface DhcpServerOptions {
  /** Its own IPv4 address, 4 bytes. */
  readonly ip: Uint8Array;
  /** Bits of its prefix. */
  readonly prefixBits: number;
  /** First address of its range, 4 bytes. */
  readonly first: Uint8Array;
  /** Last address of its range, 4 bytes. */
  readonly last: Uint8Array;
  /** Seconds of a lease. */
  readonly leaseSeconds: number;
  /** The router that clients are told about, 4 bytes; null for none. */
  readonly router: Uint8Array | null;
}

/** What a server tells its owner. */
export type DhcpEvent =
  /** A client got an address that it did not use before. */
  | { readonly kind: "leased"; readonly mac: Uint8Array; readonly ip: Uint8Array }
  /** A client got nothing because the range is exhausted; told once until a new client gets one. */
  | { readonly kind: "exhausted-range" };

/** A DHCP server. */
export class DhcpServer {
  readonly #options: DhcpServerOptions;
  readonly #onEvent: (event: DhcpEvent) => void;
  readonly #leases: Leases;
  readonly #subnet: number;
  readonly #mask: number;
  #isExhausted = false;

  /**
   * @param options What it gives out.
   * @param onEvent Told what a person wants to know.
   */
  constructor(options: DhcpServerOptions, onEvent: (event: DhcpEvent) => void = () => {}) {
    const { ip, prefixBits, leaseSeconds } = options;
    this.#options = options;
    this.#onEvent = onEvent;
    this.#mask = maskOf(prefixBits);
    this.#subnet = (toNumber(ip) & this.#mask) >>> 0;
    const [first, last] = [toNumber(options.first), toNumber(options.last)];
    this.#leases = new Leases({ first, last, leaseSeconds });
  }

  /**
   * Answers a message.
   *
   * @param message From a client.
   * @param now Seconds of any clock.
   * @param sentTo Whom its packet is for; clients speak to one server only when it is theirs.
   * @returns The answer, or null when there is none.
   */
  answer(message: DhcpMessage, now: number, sentTo: "all" | "us" = "all"): DhcpMessage | null {
    if (message.op !== BOOT_REQUEST || !isClient(message)) return null;
    switch (message.type) {
      case MessageType.DISCOVER:
        return this.#discover(message, now);
      case MessageType.REQUEST:
        return this.#request(message, now, sentTo === "all");
      case MessageType.DECLINE:
        return this.#decline(message, now);
      case MessageType.RELEASE:
        return this.#release(message, now);
      default:
        return null;
    }
  }

  // RFC 2131, 4.3.1.
  #discover(message: DhcpMessage, now: number): DhcpMessage | null {
    const wanted = addressOption(message.options, Option.REQUESTED_ADDRESS);
    const isKnown = this.#leases.of(clientOf(message)) !== null;
    const lease = this.#leases.offer(clientOf(message), wanted, now);
    if (lease === null) {
      if (!this.#isExhausted) this.#onEvent({ kind: "exhausted-range" });
      this.#isExhausted = true;
      return null;
    }
    if (!isKnown) this.#isExhausted = false;
    return this.#reply(message, MessageType.OFFER, lease.address);
  }

  // RFC 2131, 4.3.2: what is filled in tells what the client is doing.
  #request(message: DhcpMessage, now: number, isBroadcast: boolean): DhcpMessage | null {
    const { options, clientIp } = message;
    const server = options.get(Option.SERVER);
    const wanted = addressOption(options, Option.REQUESTED_ADDRESS);
    if (server !== undefined) return this.#select(message, server, wanted, now);
    if (wanted !== null) return this.#reboot(message, wanted, now);
    const used = toNumber(clientIp);
    if (used === 0) return null;
    return this.#renew(message, used, now) ?? this.#judgeUse(message, used, now, isBroadcast);
  }

  // SELECTING: the client has chosen among the offers that it got.
  #select(
    message: DhcpMessage,
    server: Uint8Array,
    wanted: number | null,
    now: number,
  ): DhcpMessage | null {
    const lease = this.#leases.of(clientOf(message));
    if (!this.#isUs(server)) {
      // It will have its address from there, so it uses none of ours any more.
      if (lease !== null) this.#leases.release(lease, now);
      return null;
    }
    if (lease === null || lease.address !== wanted) return this.#refuse(message);
    return this.#acknowledge(message, lease, now);
  }

  // INIT-REBOOT: the client comes back and wants the address that it remembers.
  #reboot(message: DhcpMessage, wanted: number, now: number): DhcpMessage | null {
    const lease = this.#leases.of(clientOf(message));
    if (lease?.address === wanted) return this.#acknowledge(message, lease, now);
    // "If the DHCP server has no record of this client, then it MUST remain silent": another one may
    // have. What a client had or was offered here is no record: it may use another server's since.
    return this.#isContradicted(message, wanted, now) ? this.#refuse(message) : null;
  }

  // RENEWING and REBINDING. A switch that was started again has forgotten its leases: a client that
  // uses a free address of the range keeps it.
  #renew(message: DhcpMessage, used: number, now: number): DhcpMessage | null {
    const lease = this.#leases.of(clientOf(message));
    if (lease?.address === used) return this.#acknowledge(message, lease, now);
    const adopted = this.#leases.adopt(clientOf(message), used, now);
    return adopted === null ? null : this.#acknowledge(message, adopted, now);
  }

  // RENEWING is sent to the server that gave the address, so it is ours to refuse. REBINDING is sent
  // to all, and most addresses that are not ours are another server's.
  #judgeUse(
    message: DhcpMessage,
    used: number,
    now: number,
    isBroadcast: boolean,
  ): DhcpMessage | null {
    const isWrong = !isBroadcast || this.#isOurs(used) || this.#isContradicted(message, used, now);
    return isWrong ? this.#refuse(message) : null;
  }

  // An address of another network is wrong whoever gave it, and so is one beside the client's lease.
  #isContradicted(message: DhcpMessage, address: number, now: number): boolean {
    return !this.#isInSubnet(address) || this.#leases.binding(clientOf(message), now) !== null;
  }

  // RFC 2131, 4.3.3.
  #decline(message: DhcpMessage, now: number): null {
    const lease = this.#leases.of(clientOf(message));
    const declined = addressOption(message.options, Option.REQUESTED_ADDRESS);
    if (lease !== null && lease.address === declined) this.#leases.decline(lease, now);
    return null;
  }

  // RFC 2131, 4.3.4.
  #release(message: DhcpMessage, now: number): null {
    const lease = this.#leases.of(clientOf(message));
    if (lease?.address === toNumber(message.clientIp)) {
      this.#leases.release(lease, now);
    }
    return null;
  }

  #acknowledge(message: DhcpMessage, lease: Lease, now: number): DhcpMessage {
    const isNew = lease.state !== "bound" || lease.end <= now;
    this.#leases.bind(lease, now);
    if (isNew) this.#onEvent({ kind: "leased", mac: message.mac, ip: toBytes(lease.address) });
    return this.#reply(message, MessageType.ACK, lease.address);
  }

  #refuse(message: DhcpMessage): DhcpMessage {
    return this.#answerTo(message, MessageType.NAK, 0, []);
  }

  #reply(message: DhcpMessage, type: number, address: number): DhcpMessage {
    const { leaseSeconds, router } = this.#options;
    return this.#answerTo(message, type, address, [
      [Option.LEASE_SECONDS, toBytes(leaseSeconds)],
      [Option.SUBNET_MASK, toBytes(this.#mask)],
      ...router === null ? [] : [[Option.ROUTER, router] as const],
    ]);
  }

  // RFC 2131, table 3.
  #answerTo(
    message: DhcpMessage,
    type: number,
    address: number,
    more: readonly (readonly [number, Uint8Array])[],
  ): DhcpMessage {
    const { transaction, flags, relayIp, mac, options, clientIp } = message;
    const isAck = type === MessageType.ACK;
    const client = options.get(Option.CLIENT);
    return {
      ...{ op: BOOT_REPLY, type, transaction, flags, relayIp, mac },
      clientIp: isAck ? clientIp : new Uint8Array(4),
      yourIp: toBytes(address),
      options: new Map([
        [Option.SERVER, this.#options.ip],
        ...more,
        // RFC 6842, 3: a client may know its answers by its own name.
        ...client === undefined || client.length === 0 ? [] : [[Option.CLIENT, client] as const],
      ]),
    };
  }

  #isUs(server: Uint8Array): boolean {
    return server.length === 4 && toNumber(server) === toNumber(this.#options.ip);
  }

  // Nobody else gives out these.
  #isOurs(address: number): boolean {
    return this.#leases.includes(address) || address === toNumber(this.#options.ip);
  }

  #isInSubnet(address: number): boolean {
    return (address & this.#mask) >>> 0 === this.#subnet;
  }
}

// A client that is a group would get its answers sent to many.
function isClient({ mac, relayIp }: DhcpMessage): boolean {
  return (mac[0]! & 1) === 0 && mac.some((byte) => byte !== 0) && toNumber(relayIp) === 0;
}

function clientOf({ mac }: DhcpMessage): string {
  return formatMac(mac);
}

function addressOption(options: Options, kind: number): number | null {
  const data = options.get(kind);
  return data?.length === 4 ? toNumber(data) : null;
}

function maskOf(prefixBits: number): number {
  return prefixBits === 0 ? 0 : (-1 << (32 - prefixBits)) >>> 0;
}

function toNumber(ip: Uint8Array): number {
  return (ip[0]! << 24 | ip[1]! << 16 | ip[2]! << 8 | ip[3]!) >>> 0;
}

function toBytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16 & 0xff, value >>> 8 & 0xff, value & 0xff);
}
