/**
 * What a `host` port is to its network: a station that only answers. It says where it is (ARP,
 * neighbour discovery), that it is there (ping), and gives out addresses (DHCP).
 *
 * Whatever comes, a frame has at most one answer, and the station remembers nothing but leases: strangers
 * can make it neither grow nor speak more than they do themselves.
 *
 * @module
 */
import type { DhcpServer } from "../dhcp/server.ts";
import { ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from "../ethernet/frame.ts";
import { isIcmp6 } from "../ethernet/icmp6.ts";
import { decodeIpv4 } from "../ethernet/ipv4.ts";
import { decodeIpv6 } from "../ethernet/ipv6.ts";
import { u16be } from "../layout/struct.ts";
import { isAt, isFromStation, isHeard, viewOf } from "./answers.ts";
import { answerArp } from "./arp_answer.ts";
import { answerDhcp, BROADCAST_IP } from "./dhcp_answer.ts";
import { answerEcho4, answerEcho6, isForStation } from "./echo_answer.ts";
import { answerSolicitation } from "./neighbour_answer.ts";

/** What a station is made of. */
export interface StationParts {
  /** Its Ethernet address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Its IPv4 address, 4 bytes; null when it has none. */
  readonly ipv4: Uint8Array | null;
  /** Its IPv6 addresses, 16 bytes each. */
  readonly ipv6: readonly Uint8Array[];
  /** Gives out addresses, if anybody does; needs the IPv4 address. */
  readonly dhcp: DhcpServer | null;
}

/** A station. */
export class Station {
  readonly #parts: StationParts;

  /** @param parts Its addresses. */
  constructor(parts: StationParts) {
    this.#parts = parts;
  }

  /**
   * Answers a frame.
   *
   * @param frame Anything; it may be changed, and may become the answer.
   * @param now Seconds of any clock that does not go back.
   * @returns The frame to send, or null when there is none.
   */
  answer(frame: Uint8Array, now: number): Uint8Array | null {
    const { mac, ipv4 } = this.#parts;
    if (frame.length < ETHERNET.size || !isFromStation(frame) || !isHeard(frame, mac)) return null;
    switch (u16be.get(viewOf(frame), ETHERNET.offset.type)) {
      case ETHERTYPE_ARP:
        return ipv4 === null ? null : answerArp(frame, mac, ipv4);
      case ETHERTYPE_IPV4:
        return ipv4 === null ? null : this.#answerIpv4(frame, ipv4, now);
      case ETHERTYPE_IPV6:
        return this.#answerIpv6(frame);
      default:
        return null;
    }
  }

  #answerIpv4(frame: Uint8Array, ip: Uint8Array, now: number): Uint8Array | null {
    const { mac, dhcp } = this.#parts;
    const echo = answerEcho4(frame, mac, ip);
    if (echo !== null || dhcp === null) return echo;
    const packet = decodeIpv4(frame.subarray(ETHERNET.size));
    if (packet === null) return null;
    const isForServer = isAt(packet.destination, 0, ip) ||
      isAt(packet.destination, 0, BROADCAST_IP);
    return isForServer ? answerDhcp(frame, packet, { mac, ip }, dhcp, now) : null;
  }

  #answerIpv6(frame: Uint8Array): Uint8Array | null {
    const { mac, ipv6 } = this.#parts;
    const packet = decodeIpv6(frame.subarray(ETHERNET.size));
    if (packet === null || !isIcmp6(packet)) return null;
    const isOurs = isForStation(frame, mac) &&
      ipv6.some((own) => isAt(packet.destination, 0, own));
    return (isOurs ? answerEcho6(frame, packet, mac) : null) ??
      answerSolicitation(frame, packet, mac, ipv6);
  }
}
