/**
 * A topology after loading: everything resolved, nothing optional left but what may be absent.
 *
 * @module
 */
import type { PollMode } from "../src/poll/poll_loop.ts";

/** Who listens on a vhost-user socket: we (server) or the other side (client). */
export type Role = "server" | "client";

/** What all ports have. */
export interface CommonConfig {
  /** Its name, unique in the topology. */
  readonly name: string;
  /** The name of its bridge. */
  readonly bridge: string;
}

/** A port with a vhost-user socket. */
export interface SocketConfig extends CommonConfig {
  /** Who listens. */
  readonly role: Role;
  /** The socket's absolute path, at most 107 bytes. */
  readonly socket: string;
  /** Queue pairs. */
  readonly queues: number;
}

/** A port for a guest: the back-end is ours. */
export interface VhostUserConfig extends SocketConfig {
  /** Its kind. */
  readonly type: "vhost-user";
  /** The address that `qemu-args` gives the guest. */
  readonly mac: string;
}

/** A port to another back-end: the front-end is ours. */
export interface FrontendConfig extends SocketConfig {
  /** Its kind. */
  readonly type: "vhost-user-frontend";
}

/** An address of a host on its network. */
export interface InterfaceAddress {
  /** The address, 4 or 16 bytes. */
  readonly ip: Uint8Array;
  /** Bits that are the same for the whole network. */
  readonly prefixBits: number;
}

/** What a host's DHCP server gives out. */
export interface DhcpConfig {
  /** First address, 4 bytes. */
  readonly first: Uint8Array;
  /** Last address, 4 bytes. */
  readonly last: Uint8Array;
  /** How long a client may use an address without asking again. */
  readonly leaseSeconds: number;
  /** The router that clients are told about, 4 bytes; null for none. */
  readonly router: Uint8Array | null;
}

/** A host in this process: it answers ARP, neighbour discovery and ping. */
export interface HostConfig extends CommonConfig {
  /** Its kind. */
  readonly type: "host";
  /** Its Ethernet address. */
  readonly mac: string;
  /** Its IPv4 address; null when it has none. */
  readonly ipv4: InterfaceAddress | null;
  /** Its IPv6 address beside the one of the link; null when it has none. */
  readonly ipv6: InterfaceAddress | null;
  /** Its DHCP server; null when it has none. */
  readonly dhcp: DhcpConfig | null;
}

/** One end of a cable between two bridges. */
export interface PatchConfig extends CommonConfig {
  /** Its kind. */
  readonly type: "patch";
  /** The name of the port at the other end. */
  readonly peer: string;
}

/** A port. */
export type PortConfig = VhostUserConfig | FrontendConfig | HostConfig | PatchConfig;

/** A bridge. */
export interface BridgeConfig {
  /** Its name, unique in the topology. */
  readonly name: string;
  /** How long an address is remembered after its last frame. */
  readonly ageingSeconds: number;
  /** How many addresses it is made for. */
  readonly maxAddresses: number;
}

/** The poll Workers. */
export interface ThreadsConfig {
  /** How many. */
  readonly workers: number;
  /** What they do when idle. */
  readonly poll: PollMode;
  /** The processor of each, by its number; empty when they may run on any. */
  readonly pin: readonly number[];
}

/** A whole topology. */
export interface Topology {
  /** Its name; the file's name without extension unless given. */
  readonly name: string;
  /** The file it came from, as the user wrote it. */
  readonly fileName: string;
  /** Ports in the order of the file. */
  readonly ports: readonly PortConfig[];
  /** Bridges; `br0` first unless it was not used. */
  readonly bridges: readonly BridgeConfig[];
  /** The poll Workers. */
  readonly threads: ThreadsConfig;
}

/** The ports of a topology that guests are connected to. */
export function guestPorts({ ports }: Pick<Topology, "ports">): VhostUserConfig[] {
  return ports.filter((port) => port.type === "vhost-user");
}
