/**
 * How a host answers whoever asks for its Ethernet address (RFC 826).
 *
 * @module
 */
import { ARP, ARP_ETHERNET_IPV4, ARP_REPLY, ARP_REQUEST, isEthernetIpv4 } from "../ethernet/arp.ts";
import { ETHERNET } from "../ethernet/frame.ts";
import { answerTo, isAt, viewOf } from "./answers.ts";

/**
 * Answers an ARP frame.
 *
 * @param frame At least an Ethernet header.
 * @param mac Our Ethernet address.
 * @param ip Our IPv4 address.
 * @returns The answer, or null when we are not asked.
 */
export function answerArp(frame: Uint8Array, mac: Uint8Array, ip: Uint8Array): Uint8Array | null {
  if (frame.length < ETHERNET.size + ARP.size) return null;
  const packet = ARP.read(viewOf(frame), ETHERNET.size);
  const { operation, senderMac, senderIp, targetIp } = packet;
  if (!isEthernetIpv4(packet) || operation !== ARP_REQUEST || !isAt(targetIp, 0, ip)) return null;
  const payload = new Uint8Array(ARP.size);
  ARP.write(viewOf(payload), 0, {
    ...ARP_ETHERNET_IPV4,
    operation: ARP_REPLY,
    senderMac: mac,
    senderIp: ip,
    targetMac: senderMac,
    targetIp: senderIp,
  });
  return answerTo(frame, mac, payload);
}
