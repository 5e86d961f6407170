/**
 * How a host answers whoever asks for the Ethernet address of one of its IPv6 addresses (RFC 4861, 7.2.4).
 *
 * @module
 */
import {
  decodeSolicitation,
  encodeAdvertisement,
  FLAG_OVERRIDE,
  FLAG_SOLICITED,
} from "../ethernet/icmp6.ts";
import {
  ALL_NODES,
  encodeIpv6,
  groupMac,
  type Ipv6Packet,
  isUnspecified,
} from "../ethernet/ipv6.ts";
import { answerTo, isAt } from "./answers.ts";

/**
 * Answers an IPv6 packet.
 *
 * @param frame The frame.
 * @param packet What the frame holds, an undamaged ICMPv6 message.
 * @param mac Our Ethernet address.
 * @param addresses Our IPv6 addresses.
 * @returns The answer, or null when we are not asked.
 */
export function answerSolicitation(
  frame: Uint8Array,
  packet: Ipv6Packet,
  mac: Uint8Array,
  addresses: readonly Uint8Array[],
): Uint8Array | null {
  const wanted = decodeSolicitation(packet);
  const target = wanted === null ? undefined : addresses.find((own) => isAt(wanted, 0, own));
  if (target === undefined) return null;
  if (!isUnspecified(packet.source)) {
    const flags = FLAG_SOLICITED | FLAG_OVERRIDE;
    const answer = encodeAdvertisement(target, mac, packet.source, flags);
    return answerTo(frame, mac, encodeIpv6(answer));
  }
  // Somebody wants to use our address and has none to be answered at: every node is told whose it is.
  const answer = encodeAdvertisement(target, mac, ALL_NODES, FLAG_OVERRIDE);
  return answerTo(frame, mac, encodeIpv6(answer), groupMac(ALL_NODES));
}
