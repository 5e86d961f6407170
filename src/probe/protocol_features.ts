/**
 * The names of protocol features.
 *
 * @module
 */
import { hasFeature } from "../virtio/features.ts";

/** Names in the specification, in lower case, in the order of their bits ("Protocol features"). */
const NAMES = [
  "mq",
  "log_shmfd",
  "rarp",
  "reply_ack",
  "mtu",
  "backend_req",
  "cross_endian",
  "crypto_session",
  "pagefault",
  "config",
  "backend_send_fd",
  "host_notifier",
  "inflight_shmfd",
  "reset_device",
  "inband_notifications",
  "configure_mem_slots",
  "status",
  "xen_mmap",
  "shared_object",
  "device_state",
  "get_vring_base_inflight",
  "gpa_addresses",
  "shmem",
  "get_vring_base_skip_drain",
];

/** The protocol features that the specification knows. */
export const KNOWN_PROTOCOL_FEATURES: bigint = (1n << BigInt(NAMES.length)) - 1n;

/** The names of a set's protocol features in the order of their bits; one without a name is `bitN`. */
export function protocolFeatureNames(set: bigint): string[] {
  const bits = Array.from({ length: 64 }, (_, bit) => bit);
  return bits.filter((bit) => hasFeature(set, bit)).map((bit) => NAMES[bit] ?? `bit${bit}`);
}
