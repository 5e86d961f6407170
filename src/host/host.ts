/**
 * A host of the demo with one address: a station, see station.ts, that also asks. It resolves, pings and
 * sends back experimental frames. Free of I/O: frames come in and go out through functions.
 *
 * @module
 */
import { ARP, ARP_ETHERNET_IPV4, ARP_REQUEST, isEthernetIpv4 } from "../ethernet/arp.ts";
import {
  BROADCAST,
  ETHERNET,
  ETHERTYPE_ARP,
  ETHERTYPE_EXPERIMENT,
  ETHERTYPE_IPV4,
  MIN_FRAME_BYTES,
} from "../ethernet/frame.ts";
import { decodeEcho, type Echo, encodeEcho, ICMP_ECHO_REPLY } from "../ethernet/icmp.ts";
import { decodeIpv4, encodeIpv4, formatIpv4, PROTOCOL_ICMP } from "../ethernet/ipv4.ts";
import { isAt, turnAround, viewOf } from "./answers.ts";
import { Station } from "./station.ts";

/** What a host is made of. */
export interface HostParts {
  /** Its Ethernet address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Its IPv4 address, 4 bytes. */
  readonly ip: Uint8Array;
  /** Sends a frame; a frame that finds no room is lost, as on any wire. */
  readonly transmit: (frame: Uint8Array) => void;
  /** Told about each echo reply that comes in. */
  readonly onEchoReply?: (echo: Echo) => void;
}

/** A host. */
export class Host {
  readonly #parts: HostParts;
  readonly #station: Station;
  /** Ethernet addresses of others, by IPv4 address. */
  readonly #neighbours = new Map<string, Uint8Array>();

  /** @param parts Addresses and the way out. */
  constructor(parts: HostParts) {
    this.#parts = parts;
    const { mac, ip } = parts;
    this.#station = new Station({ mac, ipv4: ip, ipv6: [], dhcp: null });
  }

  /** The Ethernet address of another host, or null when it is not known yet. */
  neighbour(ip: Uint8Array): Uint8Array | null {
    return this.#neighbours.get(formatIpv4(ip)) ?? null;
  }

  /**
   * Takes a frame in; damaged and foreign ones are ignored.
   *
   * @param frame The host's own copy, which may become an answer.
   */
  receive(frame: Uint8Array): void {
    if (frame.length < ETHERNET.size) return;
    const { type } = ETHERNET.read(viewOf(frame));
    if (type === ETHERTYPE_EXPERIMENT) return this.#reflect(frame);
    if (type === ETHERTYPE_ARP) this.#learn(frame.subarray(ETHERNET.size));
    if (type === ETHERTYPE_IPV4) this.#hear(frame.subarray(ETHERNET.size));
    const answer = this.#station.answer(frame, 0);
    if (answer !== null) this.#parts.transmit(answer);
  }

  /** Asks everyone who has an address; the answer comes with a later frame. */
  resolve(ip: Uint8Array): void {
    const packet = new Uint8Array(ARP.size);
    ARP.write(viewOf(packet), 0, {
      ...ARP_ETHERNET_IPV4,
      operation: ARP_REQUEST,
      senderMac: this.#parts.mac,
      senderIp: this.#parts.ip,
      targetMac: new Uint8Array(6),
      targetIp: ip,
    });
    this.#send(BROADCAST, ETHERTYPE_ARP, packet);
  }

  /**
   * Sends an echo request to a host whose Ethernet address is known.
   *
   * @param ip Its IPv4 address.
   * @param echo What to send.
   * @returns Whether the address is known.
   */
  sendEcho(ip: Uint8Array, echo: Echo): boolean {
    const mac = this.neighbour(ip);
    if (mac === null) return false;
    const payload = encodeEcho(echo);
    const source = this.#parts.ip;
    const packet = encodeIpv4({ source, destination: ip, protocol: PROTOCOL_ICMP, payload });
    this.#send(mac, ETHERTYPE_IPV4, packet);
    return true;
  }

  // RFC 826, "Packet Reception": whoever asks for us, or answers us, is where it says.
  #learn(data: Uint8Array): void {
    if (data.length < ARP.size) return;
    const packet = ARP.read(viewOf(data));
    if (!isEthernetIpv4(packet) || !isAt(packet.targetIp, 0, this.#parts.ip)) return;
    this.#neighbours.set(formatIpv4(packet.senderIp), packet.senderMac);
  }

  #hear(data: Uint8Array): void {
    const packet = decodeIpv4(data);
    if (packet === null || !isAt(packet.destination, 0, this.#parts.ip)) return;
    const echo = packet.protocol === PROTOCOL_ICMP ? decodeEcho(packet.payload) : null;
    if (echo?.type === ICMP_ECHO_REPLY) this.#parts.onEchoReply?.(echo);
  }

  #reflect(frame: Uint8Array): void {
    if (!isAt(frame, 0, this.#parts.mac)) return;
    turnAround(frame, this.#parts.mac);
    this.#parts.transmit(frame);
  }

  #send(destination: Uint8Array, type: number, payload: Uint8Array): void {
    const frame = new Uint8Array(Math.max(MIN_FRAME_BYTES, ETHERNET.size + payload.length));
    const header = { destination, source: this.#parts.mac, type };
    ETHERNET.write(viewOf(frame), 0, header);
    frame.set(payload, ETHERNET.size);
    this.#parts.transmit(frame);
  }
}
