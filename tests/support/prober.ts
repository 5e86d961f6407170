/**
 * An in-process host that pings another one without a pause and notes when answers and announcements
 * come: it sees where a station is, and for how long it is nowhere.
 *
 * @module
 */
import { ARP } from "../../src/ethernet/arp.ts";
import {
  BROADCAST,
  ETHERNET,
  ETHERTYPE_ARP,
  ETHERTYPE_RARP,
  formatMac,
  parseMac,
} from "../../src/ethernet/frame.ts";
import { ICMP_ECHO_REQUEST } from "../../src/ethernet/icmp.ts";
import { formatIpv4, parseIpv4 } from "../../src/ethernet/ipv4.ts";
import { Host } from "../../src/host/host.ts";
import { Nic } from "../../src/host/nic.ts";
import { eventually } from "./eventually.ts";

/** Between two echo requests. */
const PING_INTERVAL_MS = 20;
/** Between two looks for frames. */
const LOOK_INTERVAL_MS = 1;
/** Bytes that an echo carries, as the ping command's do. */
const ECHO_BYTES = 56;
const SEQUENCE_MASK = 0xffff;

/** Who pings whom. */
export interface ProberOptions {
  /** The socket of the port. */
  readonly socket: string;
  /** Its own Ethernet address. */
  readonly mac: string;
  /** Its own IPv4 address. */
  readonly ip: string;
  /** Whom it pings: the other one's IPv4 address. */
  readonly target: string;
}

/** A broadcast by which a station says where it is. */
export interface Announcement {
  /** When it came, in milliseconds since 1970. */
  readonly atMs: number;
  /** `arp`: the guest made it itself; `rarp`: the switch made it. */
  readonly kind: "arp" | "rarp";
}

/** How long a station was away. */
export interface Outage {
  /** The longest time between two answers. */
  readonly gapMs: number;
  /** Requests that were never answered. */
  readonly lost: number;
}

interface Ping {
  readonly sentAtMs: number;
  answeredAtMs: number | null;
}

/** Pings from its creation until it is disposed of. */
export class Prober implements Disposable {
  readonly #nic: Nic;
  readonly #host: Host;
  readonly #target: Uint8Array;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #pings: Ping[] = [];
  readonly #announcements: Announcement[] = [];
  #dueAtMs = 0;

  /** @param options Who pings whom; the switch runs in another process. */
  constructor({ socket, mac, ip, target }: ProberOptions) {
    this.#target = parseIpv4(target);
    this.#nic = Nic.connect(socket);
    this.#host = new Host({
      mac: parseMac(mac),
      ip: parseIpv4(ip),
      transmit: (frame) => void this.#nic.send(frame),
      onEchoReply: ({ sequence }) => this.#answered(sequence),
    });
    this.#timer = setInterval(() => this.#step(), LOOK_INTERVAL_MS);
  }

  /** Waits for the answer to a request that is sent from now on. */
  async answer(): Promise<void> {
    const from = this.#pings.length;
    const hasAnswer = () => this.#pings.slice(from).some(isAnswered) || null;
    await eventually("an answer to a ping", hasAnswer);
  }

  /**
   * Waits for the answers to the next requests.
   *
   * @throws {Error} When one of them is not answered.
   */
  async answers(count: number): Promise<void> {
    const from = this.#pings.length;
    const hasAll = () => {
      const pings = this.#pings.slice(from, from + count);
      return (pings.length === count && pings.every(isAnswered)) || null;
    };
    await eventually(`answers to ${count} pings in a row`, hasAll);
  }

  /** Waits for the first announcement since a time. */
  async announcement(sinceMs: number): Promise<Announcement> {
    const find = () => this.#announcements.find(({ atMs }) => atMs >= sinceMs) ?? null;
    return await eventually("an announcement", find);
  }

  /** The longest outage among the requests since a time. */
  outage(sinceMs: number): Outage {
    const pings = this.#pings.filter(({ sentAtMs }) => sentAtMs >= sinceMs);
    const answers = pings.filter(isAnswered).map((ping) => ping.answeredAtMs!);
    const gaps = answers.slice(1).map((atMs, i) => atMs - answers[i]!);
    return { gapMs: Math.max(...gaps), lost: pings.length - answers.length };
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#nic[Symbol.dispose]();
  }

  #step(): void {
    this.#nic.poll((frame) => {
      this.#notice(frame);
      this.#host.receive(frame);
    });
    if (now() >= this.#dueAtMs) this.#ping();
    this.#nic.flush();
  }

  #ping(): void {
    this.#dueAtMs = now() + PING_INTERVAL_MS;
    const sequence = this.#pings.length & SEQUENCE_MASK;
    const data = new Uint8Array(ECHO_BYTES);
    const echo = { type: ICMP_ECHO_REQUEST, identifier: 1, sequence, data };
    if (this.#host.sendEcho(this.#target, echo)) {
      this.#pings.push({ sentAtMs: now(), answeredAtMs: null });
    } else {
      this.#host.resolve(this.#target);
    }
  }

  #answered(sequence: number): void {
    const ping = this.#pings[sequence];
    if (ping !== undefined) ping.answeredAtMs ??= now();
  }

  #notice(frame: Uint8Array): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const { destination, source, type } = ETHERNET.read(view);
    const mac = this.#host.neighbour(this.#target);
    if (mac === null || formatMac(source) !== formatMac(mac)) return;
    if (formatMac(destination) !== formatMac(BROADCAST)) return;
    if (type === ETHERTYPE_RARP) this.#announcements.push({ atMs: now(), kind: "rarp" });
    if (type !== ETHERTYPE_ARP) return;
    // Whoever asks for its own address wants no answer (RFC 5227, 3).
    const { senderIp, targetIp } = ARP.read(view, ETHERNET.size);
    if (formatIpv4(senderIp) !== formatIpv4(targetIp)) return;
    this.#announcements.push({ atMs: now(), kind: "arp" });
  }
}

function isAnswered({ answeredAtMs }: Ping): boolean {
  return answeredAtMs !== null;
}

// With fractions, unlike Date.now().
function now(): number {
  return performance.timeOrigin + performance.now();
}
