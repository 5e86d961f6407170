/**
 * A host of the demo with one address: answers ARP and ping, resolves, pings, and sends back
 * experimental frames. A host port only answers, see station.ts. Free of I/O: frames come in and go
 * out through functions.
 *
 * @module
 */
import { ARP, ARP_ETHERNET_IPV4, ARP_REPLY, ARP_REQUEST, isEthernetIpv4 } from "../ethernet/arp.ts";
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
  /** Ethernet addresses of others, by IPv4 address. */
  readonly #neighbours = new Map<string, Uint8Array>();

  /** @param parts Addresses and the way out. */
  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  /** The Ethernet address of another host, or null when it is not known yet. */
  neighbour(ip: Uint8Array): Uint8Array | null {
    return this.#neighbours.get(formatIpv4(ip)) ?? null;
  }

  /** Takes a frame in; damaged and foreign ones are ignored. */
  receive(frame: Uint8Array): void {
    if (frame.length < ETHERNET.size) return;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    switch (ETHERNET.read(view).type) {
      case ETHERTYPE_ARP:
        return this.#receiveArp(frame.subarray(ETHERNET.size));
      case ETHERTYPE_IPV4:
        return this.#receiveIpv4(frame.subarray(ETHERNET.size));
      case ETHERTYPE_EXPERIMENT:
        return this.#reflect(frame);
    }
  }

  /** Asks everyone who has an address; the answer comes with a later frame. */
  resolve(ip: Uint8Array): void {
    this.#sendArp(ARP_REQUEST, BROADCAST, new Uint8Array(6), ip);
  }

  /**
   * Sends an echo request, or its reply, to a host whose Ethernet address is known.
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

  #receiveArp(data: Uint8Array): void {
    if (data.length < ARP.size) return;
    const packet = ARP.read(new DataView(data.buffer, data.byteOffset, data.byteLength));
    if (!isEthernetIpv4(packet) || !isEqual(packet.targetIp, this.#parts.ip)) return;
    // RFC 826, "Packet Reception": whoever is asked will soon want to answer the asker.
    this.#neighbours.set(formatIpv4(packet.senderIp), packet.senderMac);
    if (packet.operation !== ARP_REQUEST) return;
    this.#sendArp(ARP_REPLY, packet.senderMac, packet.senderMac, packet.senderIp);
  }

  #receiveIpv4(data: Uint8Array): void {
    const packet = decodeIpv4(data);
    if (packet === null || !isEqual(packet.destination, this.#parts.ip)) return;
    const echo = packet.protocol === PROTOCOL_ICMP ? decodeEcho(packet.payload) : null;
    if (echo === null) return;
    if (echo.type === ICMP_ECHO_REPLY) this.#parts.onEchoReply?.(echo);
    else this.sendEcho(packet.source, { ...echo, type: ICMP_ECHO_REPLY });
  }

  // The frame is this host's own copy, so the addresses are swapped where they are.
  #reflect(frame: Uint8Array): void {
    if (!isEqual(frame.subarray(0, 6), this.#parts.mac)) return;
    frame.copyWithin(0, 6, 12);
    frame.set(this.#parts.mac, 6);
    this.#parts.transmit(frame);
  }

  #sendArp(operation: number, to: Uint8Array, targetMac: Uint8Array, targetIp: Uint8Array): void {
    const packet = new Uint8Array(ARP.size);
    ARP.write(new DataView(packet.buffer), 0, {
      ...ARP_ETHERNET_IPV4,
      operation,
      senderMac: this.#parts.mac,
      senderIp: this.#parts.ip,
      targetMac,
      targetIp,
    });
    this.#send(to, ETHERTYPE_ARP, packet);
  }

  #send(destination: Uint8Array, type: number, payload: Uint8Array): void {
    const frame = new Uint8Array(Math.max(MIN_FRAME_BYTES, ETHERNET.size + payload.length));
    const header = { destination, source: this.#parts.mac, type };
    ETHERNET.write(new DataView(frame.buffer), 0, header);
    frame.set(payload, ETHERNET.size);
    this.#parts.transmit(frame);
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
