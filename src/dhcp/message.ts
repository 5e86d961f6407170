/**
 * DHCP messages (RFC 2131, 2).
 *
 * @module
 */
import { bytes, struct, u16be, u32be, u8 } from "../layout/struct.ts";
import { decodeOptions, encodeOptions, Option, type Options } from "./options.ts";

/** What comes before the options (RFC 2131, figure 1). */
export const DHCP = struct("struct dhcp", 240, {
  op: u8,
  htype: u8,
  hlen: u8,
  hops: u8,
  xid: u32be,
  secs: u16be,
  flags: u16be,
  ciaddr: bytes(4),
  yiaddr: bytes(4),
  siaddr: bytes(4),
  giaddr: bytes(4),
  chaddr: bytes(16),
  sname: bytes(64),
  file: bytes(128),
  cookie: u32be,
});

/** UDP port of servers (RFC 2131, 4.1). */
export const SERVER_PORT = 67;
/** UDP port of clients (RFC 2131, 4.1). */
export const CLIENT_PORT = 68;
/** The client cannot take in packets to an address that it does not have yet (RFC 2131, figure 2). */
export const FLAG_BROADCAST = 0x8000;

/** From a client (RFC 2131, table 1). */
export const BOOT_REQUEST = 1;
/** From a server (RFC 2131, table 1). */
export const BOOT_REPLY = 2;
/** Kinds of messages (RFC 2132, 9.6). */
export const MessageType = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
} as const;

/** Says that options follow (RFC 2131, 3). */
const MAGIC_COOKIE = 0x63825363;
/** 10 Mbit Ethernet, which stands for all (IANA, "ARP Parameters"). */
const HARDWARE_ETHERNET = 1;
const MAC_BYTES = 6;
/** Some relays and clients drop shorter ones (RFC 1542, 2.1). */
const MIN_MESSAGE_BYTES = 300;
/** Values of the overload option: `file`, `sname` or both hold options (RFC 2132, 9.3). */
const OVERLOAD_FILE = 1;
const OVERLOAD_SNAME = 2;

/** A message. */
export interface DhcpMessage {
  /** BOOT_REQUEST or BOOT_REPLY. */
  readonly op: number;
  /** One of MessageType, or something else. */
  readonly type: number;
  /** Chosen by the client; 32 bits. */
  readonly transaction: number;
  /** A set of FLAG_*. */
  readonly flags: number;
  /** Address that the client has and uses, 4 bytes. */
  readonly clientIp: Uint8Array;
  /** Address that the client gets, 4 bytes. */
  readonly yourIp: Uint8Array;
  /** The relay that the message passed, 4 bytes; zero when none. */
  readonly relayIp: Uint8Array;
  /** Ethernet address of the client, 6 bytes. */
  readonly mac: Uint8Array;
  /** What else is said, without the message's type. */
  readonly options: Options;
}

/**
 * Makes the bytes of a message.
 *
 * @param message Its options take at most 255 bytes each.
 */
export function encodeDhcp(message: DhcpMessage): Uint8Array {
  const type = Uint8Array.of(message.type);
  const options = encodeOptions(new Map([[Option.MESSAGE_TYPE, type], ...message.options]));
  const data = new Uint8Array(Math.max(MIN_MESSAGE_BYTES, DHCP.size + options.length));
  DHCP.write(new DataView(data.buffer), 0, {
    op: message.op,
    htype: HARDWARE_ETHERNET,
    hlen: MAC_BYTES,
    hops: 0,
    xid: message.transaction,
    secs: 0,
    flags: message.flags,
    ciaddr: message.clientIp,
    yiaddr: message.yourIp,
    siaddr: new Uint8Array(4),
    giaddr: message.relayIp,
    chaddr: message.mac,
    sname: new Uint8Array(0),
    file: new Uint8Array(0),
    cookie: MAGIC_COOKIE,
  });
  data.set(options, DHCP.size);
  return data;
}

/**
 * Takes a message apart.
 *
 * @param data What a datagram carries.
 * @returns The message, or null when it is damaged, has no type or is not for Ethernet.
 */
export function decodeDhcp(data: Uint8Array): DhcpMessage | null {
  if (data.length < DHCP.size) return null;
  const head = DHCP.read(new DataView(data.buffer, data.byteOffset, data.byteLength));
  const isOurs = head.cookie === MAGIC_COOKIE && head.htype === HARDWARE_ETHERNET &&
    head.hlen === MAC_BYTES;
  if (!isOurs) return null;
  const options = allOptions(data.subarray(DHCP.size), head);
  const type = options?.get(Option.MESSAGE_TYPE);
  if (options === null || type?.length !== 1) return null;
  return {
    op: head.op,
    type: type[0]!,
    transaction: head.xid,
    flags: head.flags,
    clientIp: head.ciaddr,
    yourIp: head.yiaddr,
    relayIp: head.giaddr,
    mac: head.chaddr.slice(0, MAC_BYTES),
    options: new Map([...options].filter(([kind]) => kind !== Option.MESSAGE_TYPE)),
  };
}

// RFC 2131, 4.1: first the options field, then `file`, then `sname`.
function allOptions(
  data: Uint8Array,
  { file, sname }: { file: Uint8Array; sname: Uint8Array },
): Options | null {
  let options = decodeOptions(data);
  const overload = options?.get(Option.OVERLOAD)?.[0] ?? 0;
  if (options !== null && (overload & OVERLOAD_FILE) !== 0) options = decodeOptions(file, options);
  if (options !== null && (overload & OVERLOAD_SNAME) !== 0) {
    options = decodeOptions(sname, options);
  }
  return options;
}
