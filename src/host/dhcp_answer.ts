/**
 * How a host answers DHCP: frames in and out of a server (RFC 2131, 4.1).
 *
 * @module
 */
import {
  CLIENT_PORT,
  decodeDhcp,
  type DhcpMessage,
  encodeDhcp,
  FLAG_BROADCAST,
  MessageType,
  SERVER_PORT,
} from "../dhcp/message.ts";
import type { DhcpServer } from "../dhcp/server.ts";
import { ETHERNET } from "../ethernet/frame.ts";
import { encodeIpv4, type Ipv4Packet } from "../ethernet/ipv4.ts";
import { decodeUdp, encodeUdp } from "../ethernet/udp.ts";
import { answerTo, isAt } from "./answers.ts";

/** Every station on the link. */
export const BROADCAST_IP: Uint8Array = Uint8Array.of(255, 255, 255, 255);

/**
 * Answers a packet of a client. The frame of the answer is for the client alone, also where the packet
 * in it is a broadcast: the client is the one that must accept it, and nobody can have it sent to all.
 *
 * Relays are not served, so the client is whoever sent the frame (RFC 2131, table 1: `chaddr`). Nobody
 * speaks for another one: neither can it give back the other's lease, nor have answers sent there.
 *
 * @param frame The frame.
 * @param packet What the frame holds, to our address or to every station.
 * @param own Our Ethernet and IPv4 addresses.
 * @param server Who answers.
 * @param now Seconds of the server's clock.
 * @returns The answer, or null when there is none.
 */
export function answerDhcp(
  frame: Uint8Array,
  packet: Ipv4Packet,
  own: { readonly mac: Uint8Array; readonly ip: Uint8Array },
  server: DhcpServer,
  now: number,
): Uint8Array | null {
  const datagram = decodeUdp(packet);
  if (datagram?.destinationPort !== SERVER_PORT) return null;
  const message = decodeDhcp(datagram.payload);
  if (message === null || !isAt(frame, ETHERNET.offset.source, message.mac)) return null;
  const sentTo = isAt(packet.destination, 0, BROADCAST_IP) ? "all" : "us";
  const answer = server.answer(message, now, sentTo);
  if (answer === null) return null;
  const payload = encodeDhcp(answer);
  const ports = { sourcePort: SERVER_PORT, destinationPort: CLIENT_PORT };
  const udp = encodeUdp(own.ip, destinationOf(answer), { ...ports, payload });
  return answerTo(frame, own.mac, encodeIpv4(udp));
}

// A client that is refused, or that says so, does not accept what is sent to an address of its own.
function destinationOf({ type, flags, clientIp, yourIp }: DhcpMessage): Uint8Array {
  if (type === MessageType.NAK) return BROADCAST_IP;
  if (clientIp.some((byte) => byte !== 0)) return clientIp;
  return (flags & FLAG_BROADCAST) !== 0 ? BROADCAST_IP : yourIp;
}
