/**
 * Pings a host as fast as it answers: a fixed number of pings is on the way at any time, and for each
 * answer the next one is sent.
 *
 * @module
 */
import { adjustChecksum, internetChecksum } from "../ethernet/checksum.ts";
import { ETHERNET, ETHERTYPE_IPV4 } from "../ethernet/frame.ts";
import { encodeEcho, ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from "../ethernet/icmp.ts";
import { encodeIpv4, IPV4, PROTOCOL_ICMP } from "../ethernet/ipv4.ts";
import { u16be } from "../layout/struct.ts";
import type { Nic } from "./nic.ts";

/** Where the echo begins in a frame. */
const ECHO_AT = ETHERNET.size + IPV4.size;
const CHECKSUM_AT = ECHO_AT + ICMP_ECHO.offset.checksum;
const SEQUENCE_AT = ECHO_AT + ICMP_ECHO.offset.sequence;
const SEQUENCES = 0x10000;
const IDENTIFIER = 2;
/** How long the answers that are still on the way may take at the end. */
const DRAIN_MS = 500;
/** Empty looks before the thread waits: the other side answers within microseconds. */
const SPINS = 20000;
const WAIT_MS = 20;

/** What to send. */
export interface FloodPlan {
  /** Our Ethernet address, 6 bytes. */
  readonly source: Uint8Array;
  /** Our IPv4 address, 4 bytes. */
  readonly sourceIp: Uint8Array;
  /** The host's Ethernet address, 6 bytes. */
  readonly destination: Uint8Array;
  /** The host's IPv4 address, 4 bytes. */
  readonly destinationIp: Uint8Array;
  /** Bytes that a ping carries. */
  readonly dataBytes: number;
  /** Pings on the way at a time; must fit into the rings. */
  readonly window: number;
  /** How long pings are sent. */
  readonly seconds: number;
}

/** What came of it. */
export interface FloodResult {
  /** Pings sent. */
  readonly sent: number;
  /** Pings answered, each once. */
  readonly answered: number;
  /** How long it took. */
  readonly seconds: number;
  /** Milliseconds from each ping to its answer, in order of their length. */
  readonly roundTripsMs: Float64Array;
}

/**
 * Runs the flood in this thread.
 *
 * @param nic The interface; nobody else uses it meanwhile.
 * @param plan What to send.
 */
export function runPingFlood(nic: Nic, plan: FloodPlan): FloodResult {
  const ping = new Ping(plan);
  /** When each ping was sent, by its sequence number; NaN when none is on the way. */
  const times = new Float64Array(SEQUENCES).fill(NaN);
  const roundTrips: number[] = [];
  let sent = 0;
  let now = performance.now();
  const onFrame = (frame: Uint8Array): void => {
    const sequence = ping.answered(frame);
    const time = sequence === null ? NaN : times[sequence]!;
    if (Number.isNaN(time)) return;
    times[sequence!] = NaN;
    roundTrips.push(performance.now() - time);
  };
  const start = now;
  const end = start + plan.seconds * 1000;
  let last = start;
  let spins = 0;
  for (; now < end + DRAIN_MS; now = performance.now()) {
    if (nic.poll(onFrame) > 0) {
      spins = 0;
      last = performance.now();
    } else if (++spins > SPINS) {
      nic.wait(WAIT_MS);
      spins = 0;
    }
    if (now >= end && sent === roundTrips.length) break;
    while (now < end && sent - roundTrips.length < plan.window) {
      const sequence = sent % SEQUENCES;
      times[sequence] = performance.now();
      if (!nic.send(ping.request(sequence))) break;
      sent++;
    }
    nic.flush();
  }
  const roundTripsMs = Float64Array.from(roundTrips).sort();
  return { sent, answered: roundTrips.length, seconds: (last - start) / 1000, roundTripsMs };
}

/** The frame of a ping, with its sequence number to be filled in. */
class Ping {
  readonly #frame: Uint8Array;
  readonly #view: DataView;

  constructor({ source, sourceIp, destination, destinationIp, dataBytes }: FloodPlan) {
    const data = new Uint8Array(dataBytes);
    const echo = { type: ICMP_ECHO_REQUEST, identifier: IDENTIFIER, sequence: 0, data };
    const packet = encodeIpv4({
      ...{ source: sourceIp, destination: destinationIp, protocol: PROTOCOL_ICMP },
      payload: encodeEcho(echo),
    });
    this.#frame = new Uint8Array(ETHERNET.size + packet.length);
    this.#view = new DataView(this.#frame.buffer);
    ETHERNET.write(this.#view, 0, { destination, source, type: ETHERTYPE_IPV4 });
    this.#frame.set(packet, ETHERNET.size);
  }

  /** The frame of a ping; changes with the next one. */
  request(sequence: number): Uint8Array {
    const view = this.#view;
    const before = u16be.get(view, SEQUENCE_AT);
    const checksum = adjustChecksum(u16be.get(view, CHECKSUM_AT), before, sequence);
    u16be.set(view, CHECKSUM_AT, checksum);
    u16be.set(view, SEQUENCE_AT, sequence);
    return this.#frame;
  }

  /** The sequence number of an undamaged answer; null for every other frame. */
  answered(frame: Uint8Array): number | null {
    const { length } = this.#frame;
    if (frame.length < length || frame[ECHO_AT] !== ICMP_ECHO_REPLY) return null;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const isOurs = u16be.get(view, ETHERNET.offset.type) === ETHERTYPE_IPV4 &&
      u16be.get(view, ECHO_AT + ICMP_ECHO.offset.identifier) === IDENTIFIER &&
      internetChecksum(frame.subarray(ECHO_AT, length)) === 0;
    return isOurs ? u16be.get(view, SEQUENCE_AT) : null;
  }
}
