/**
 * Address resolution: which Ethernet address has an IPv4 address (RFC 826).
 *
 * @module
 */
import { bytes, struct, u16be, u8 } from "../layout/struct.ts";
import { BROADCAST, ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_RARP, MIN_FRAME_BYTES } from "./frame.ts";

/** A packet for Ethernet and IPv4 (RFC 826, "Packet format"). */
export const ARP = struct("struct arp", 28, {
  hardwareType: u16be,
  protocolType: u16be,
  hardwareBytes: u8,
  protocolBytes: u8,
  operation: u16be,
  senderMac: bytes(6),
  senderIp: bytes(4),
  targetMac: bytes(6),
  targetIp: bytes(4),
});

/** Who has this address? (RFC 826) */
export const ARP_REQUEST = 1;
/** I have. (RFC 826) */
export const ARP_REPLY = 2;
/** Which address do I have? (RFC 903) */
export const REVERSE_ARP_REQUEST = 3;
/** Ethernet (IANA, "ARP Parameters"). */
const HARDWARE_ETHERNET = 1;

/** Fields that are the same in every packet for Ethernet and IPv4. */
export const ARP_ETHERNET_IPV4 = {
  hardwareType: HARDWARE_ETHERNET,
  protocolType: ETHERTYPE_IPV4,
  hardwareBytes: 6,
  protocolBytes: 4,
} as const;

/** Whether a packet is about Ethernet and IPv4. */
export function isEthernetIpv4(packet: ReturnType<typeof ARP.read>): boolean {
  return packet.hardwareType === HARDWARE_ETHERNET && packet.protocolType === ETHERTYPE_IPV4 &&
    packet.hardwareBytes === 6 && packet.protocolBytes === 4;
}

/**
 * Makes the frame of a reverse ARP request about the sender itself (RFC 903): it tells every switch on
 * its way where the station is, and no station answers it.
 *
 * @param address The station's MAC address, 6 bytes.
 * @returns The frame, padded to the shortest length.
 */
export function encodeReverseArp(address: Uint8Array): Uint8Array {
  const frame = new Uint8Array(MIN_FRAME_BYTES);
  const view = new DataView(frame.buffer);
  ETHERNET.write(view, 0, { destination: BROADCAST, source: address, type: ETHERTYPE_RARP });
  ARP.write(view, ETHERNET.size, {
    ...ARP_ETHERNET_IPV4,
    operation: REVERSE_ARP_REQUEST,
    senderMac: address,
    senderIp: new Uint8Array(4),
    targetMac: address,
    targetIp: new Uint8Array(4),
  });
  return frame;
}
