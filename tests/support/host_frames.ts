/**
 * Frames that a station sends to a host, and what the host's answers say.
 *
 * @module
 */
import { ok } from "node:assert/strict";
import {
  BOOT_REQUEST,
  CLIENT_PORT,
  decodeDhcp,
  type DhcpMessage,
  encodeDhcp,
  SERVER_PORT,
} from "../../src/dhcp/message.ts";
import { ARP, ARP_ETHERNET_IPV4, ARP_REQUEST } from "../../src/ethernet/arp.ts";
import { internetChecksum, pseudoHeaderSum } from "../../src/ethernet/checksum.ts";
import {
  BROADCAST,
  ETHERNET,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
} from "../../src/ethernet/frame.ts";
import { type Echo, encodeEcho, ICMP_ECHO_REQUEST } from "../../src/ethernet/icmp.ts";
import { ICMP6_ECHO_REQUEST, NEIGHBOUR, NEIGHBOUR_SOLICITATION } from "../../src/ethernet/icmp6.ts";
import {
  decodeIpv4,
  encodeIpv4,
  type Ipv4Packet,
  parseIpv4,
  PROTOCOL_ICMP,
} from "../../src/ethernet/ipv4.ts";
import {
  decodeIpv6,
  encodeIpv6,
  groupMac,
  type Ipv6Packet,
  PROTOCOL_ICMP6,
  solicitedNodeGroup,
} from "../../src/ethernet/ipv6.ts";
import { decodeUdp, encodeUdp } from "../../src/ethernet/udp.ts";

/** Addresses of a station. */
export interface Addresses {
  /** Ethernet, 6 bytes. */
  readonly mac: Uint8Array;
  /** IPv4, 4 bytes. */
  readonly ip: Uint8Array;
  /** IPv6, 16 bytes. */
  readonly ip6: Uint8Array;
}

const NO_IP = new Uint8Array(4);
const ALL_IP = parseIpv4("255.255.255.255");
/** What the pings of these stations carry. */
export const ECHO: Echo = {
  type: ICMP_ECHO_REQUEST,
  identifier: 0x1234,
  sequence: 7,
  data: new TextEncoder().encode("abcdefghijklmnopqrstuvwxyz"),
};

/** A frame. */
export function frameOf(
  destination: Uint8Array,
  source: Uint8Array,
  type: number,
  payload: Uint8Array,
): Uint8Array {
  const frame = new Uint8Array(ETHERNET.size + payload.length);
  ETHERNET.write(new DataView(frame.buffer), 0, { destination, source, type });
  frame.set(payload, ETHERNET.size);
  return frame;
}

/** The header of a frame. */
export function headerOf(frame: Uint8Array): ReturnType<typeof ETHERNET.read> {
  return ETHERNET.read(new DataView(frame.buffer, frame.byteOffset, frame.byteLength));
}

/** Asks everyone who has an IPv4 address. */
export function arpRequest(
  us: Addresses,
  targetIp: Uint8Array,
  more: Partial<ReturnType<typeof ARP.read>> = {},
): Uint8Array {
  const packet = new Uint8Array(ARP.size);
  ARP.write(new DataView(packet.buffer), 0, {
    ...ARP_ETHERNET_IPV4,
    operation: ARP_REQUEST,
    senderMac: us.mac,
    senderIp: us.ip,
    targetMac: new Uint8Array(6),
    targetIp,
    ...more,
  });
  return frameOf(BROADCAST, us.mac, ETHERTYPE_ARP, packet);
}

/** What an ARP frame says. */
export function arpOf(frame: Uint8Array): ReturnType<typeof ARP.read> {
  return ARP.read(new DataView(frame.buffer, frame.byteOffset), ETHERNET.size);
}

/** A ping over IPv4. */
export function ping4(us: Addresses, host: Addresses, more: Partial<Ipv4Packet> = {}): Uint8Array {
  const packet = encodeIpv4({
    source: us.ip,
    destination: host.ip,
    protocol: PROTOCOL_ICMP,
    payload: encodeEcho(ECHO),
    ...more,
  });
  return frameOf(host.mac, us.mac, ETHERTYPE_IPV4, packet);
}

/** The IPv4 packet of a frame. */
export function ipv4Of(frame: Uint8Array): Ipv4Packet {
  const packet = decodeIpv4(frame.subarray(ETHERNET.size));
  ok(packet !== null, "no IPv4 packet");
  return packet;
}

/** The IPv6 packet of a frame. */
export function ipv6Of(frame: Uint8Array): Ipv6Packet {
  const packet = decodeIpv6(frame.subarray(ETHERNET.size));
  ok(packet !== null, "no IPv6 packet");
  return packet;
}

/** An ICMPv6 message with its checksum, in a frame. */
export function icmp6(
  destinationMac: Uint8Array,
  us: Addresses,
  message: Uint8Array,
  more: Partial<Ipv6Packet> & Pick<Ipv6Packet, "destination">,
): Uint8Array {
  const packet = {
    ...{ source: us.ip6, protocol: PROTOCOL_ICMP6, hopLimit: 255, payload: message.slice() },
    ...more,
  };
  const { source, destination, payload } = packet;
  payload.fill(0, 2, 4);
  const pseudo = pseudoHeaderSum(source, destination, PROTOCOL_ICMP6, payload.length);
  const checksum = internetChecksum(payload, pseudo);
  payload.set([checksum >> 8, checksum & 0xff], 2);
  return frameOf(destinationMac, us.mac, ETHERTYPE_IPV6, encodeIpv6(packet));
}

/** Asks the group of an IPv6 address who has it. */
export function solicitation(
  us: Addresses,
  target: Uint8Array,
  more: Partial<Ipv6Packet> & { readonly options?: readonly number[] } = {},
): Uint8Array {
  const { options = [1, 1, ...us.mac], ...packet } = more;
  const message = new Uint8Array(NEIGHBOUR.size + options.length);
  NEIGHBOUR.write(new DataView(message.buffer), 0, {
    ...{ type: NEIGHBOUR_SOLICITATION, code: 0, checksum: 0, flags: 0, target },
  });
  message.set(options, NEIGHBOUR.size);
  const destination = solicitedNodeGroup(target);
  return icmp6(groupMac(destination), us, message, { destination, ...packet });
}

/** A ping over IPv6. */
export function ping6(us: Addresses, host: Addresses, more: Partial<Ipv6Packet> = {}): Uint8Array {
  const message = Uint8Array.of(ICMP6_ECHO_REQUEST, 0, 0, 0, 0x12, 0x34, 0, 7, ...ECHO.data);
  return icmp6(host.mac, us, message, { destination: host.ip6, ...more });
}

/** A message of a DHCP client. */
export function dhcpMessage(
  mac: Uint8Array,
  type: number,
  more: Partial<DhcpMessage> = {},
): DhcpMessage {
  return {
    ...{ op: BOOT_REQUEST, type, transaction: 0x01020304, flags: 0, mac, options: new Map() },
    ...{ clientIp: NO_IP, yourIp: NO_IP, relayIp: NO_IP },
    ...more,
  };
}

/** A message of a DHCP client in a frame for everyone; its packet may be for one server. */
export function dhcpFrame(message: DhcpMessage, server = ALL_IP): Uint8Array {
  const ports = { sourcePort: CLIENT_PORT, destinationPort: SERVER_PORT };
  const packet = encodeUdp(message.clientIp, server, { ...ports, payload: encodeDhcp(message) });
  return frameOf(BROADCAST, message.mac, ETHERTYPE_IPV4, encodeIpv4(packet));
}

/** The message of a DHCP server in a frame. */
export function dhcpOf(frame: Uint8Array): DhcpMessage {
  const message = decodeDhcp(decodeUdp(ipv4Of(frame))!.payload);
  ok(message !== null, "no DHCP message");
  return message;
}
