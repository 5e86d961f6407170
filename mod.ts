/**
 * labswitch: a virtual switch for lab networks, and the two halves of vhost-user that it is made of.
 *
 * Run as a program this module is the `labswitch` command. Imported, it is a library in four layers:
 *
 * - {@linkcode Switch}: a whole switch in this process, from a topology ({@linkcode parseTopology});
 * - {@linkcode VhostUserFrontend}: plays the guest of any vhost-user back-end; {@linkcode converse} and
 *   {@linkcode Nic} do it over a socket, on a thread that may wait;
 * - {@linkcode VhostUserBackend}: the other half; messages and descriptors in, replies out;
 * - {@linkcode DriverVirtqueue} and {@linkcode PackedDriverVirtqueue}: the driver's side of the rings.
 *
 * The two halves do no I/O. Addresses, sizes and feature sets are `bigint`, as wide as on the wire.
 * Whoever opened a descriptor closes it, unless a function says that it takes it over.
 *
 * @example A switch in this process
 * ```ts
 * import { join } from "node:path";
 * import { parseTopology, Switch } from "@labswitch/labswitch";
 *
 * const folder = await Deno.makeTempDir();
 * const text = `version: 1
 * ports:
 *   vm1: { type: vhost-user, socket: vm1.sock }
 *   vm2: { type: vhost-user, socket: vm2.sock }
 * `;
 * const lab = new Switch(parseTopology(text, join(folder, "lab.yaml")), {
 *   onPortEvent: ({ port, kind }) => console.log(port, kind),
 *   onWorkerEvent: ({ kind, reason }) => console.log(kind, reason),
 *   onFailure: (error) => console.error(error),
 * });
 * await lab.open(); // QEMU can connect to vm1.sock and vm2.sock now
 * console.log(lab.report().map(({ name, state }) => `${name} is ${state}`));
 * await lab.close();
 * await Deno.remove(folder, { recursive: true });
 * ```
 *
 * @example A front-end finds out what a back-end offers, without a socket between them
 * ```ts
 * import {
 *   type BackendDevice,
 *   featureNames,
 *   featureSet,
 *   MessageDecoder,
 *   VHOST_USER_F_PROTOCOL_FEATURES,
 *   VhostUserBackend,
 *   VhostUserFrontend,
 *   VIRTIO_F_EVENT_IDX,
 *   VIRTIO_F_VERSION_1,
 * } from "@labswitch/labswitch";
 *
 * // What a device does with memory, rings and features; this one only agrees.
 * const device: BackendDevice = {
 *   setFeatures: () => {},
 *   whileQuiet: (change) => change(),
 *   prepareMemory: () => null,
 *   setMemoryTable: () => {},
 *   addMemoryRegion: () => {},
 *   removeMemoryRegion: () => {},
 *   setLog: () => {},
 *   setMtu: () => {},
 *   announce: () => {},
 *   startRing: () => {},
 *   stopRing: () => 0,
 *   setRingEnabled: () => {},
 *   requireEventFd: () => {},
 *   setCall: () => {},
 * };
 * const backend = new VhostUserBackend(device, {
 *   features: featureSet(VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX),
 *   protocolFeatures: 0n,
 *   queuePairs: 1,
 *   maxQueueSize: 1024,
 * });
 *
 * // A socket would carry these bytes, and the descriptors that go with them.
 * function decode(data: Uint8Array) {
 *   const decoder = new MessageDecoder();
 *   for (let at = 0;;) {
 *     const target = decoder.target();
 *     target.set(data.subarray(at, at + target.length));
 *     at += target.length;
 *     const message = decoder.received(target.length, []);
 *     if (message !== null) return message;
 *   }
 * }
 *
 * const conversation = new VhostUserFrontend().negotiate({ features: featureSet(VIRTIO_F_VERSION_1) });
 * for (let step = conversation.next(null);;) {
 *   if (step.done) {
 *     console.log(featureNames(step.value.features)); // ["protocol_features", "version_1"]
 *     break;
 *   }
 *   const reply = await backend.handle(decode(step.value.data));
 *   step = conversation.next(reply === null ? null : decode(reply));
 * }
 * backend.close();
 * ```
 *
 * @example A driver offers a buffer to a device
 * ```ts
 * import { DriverVirtqueue, placeRing } from "@labswitch/labswitch";
 *
 * const memory = new SharedArrayBuffer(65536);
 * const ring = new DriverVirtqueue({
 *   memory,
 *   size: 256,
 *   places: placeRing(0, 256),
 *   hasEventIndex: false,
 * });
 * ring.add([{ address: 32768, length: 2048, isWritable: true }], 7);
 * const mustKick = ring.publish(); // true: the device has not said that it polls
 * console.log(mustKick, ring.outstanding, ring.take()); // true 1 null
 * ```
 *
 * @module
 */
import { main } from "./src/cli/main.ts";

// Topologies.
export { type Diagnostic, TopologyError } from "./config/diagnostics.ts";
export { loadTopology, parseTopology } from "./config/load.ts";
export type { Machine } from "./config/machine.ts";
export {
  type BridgeConfig,
  type CommonConfig,
  type DhcpConfig,
  type FrontendConfig,
  guestPorts,
  type HostConfig,
  type InterfaceAddress,
  type PatchConfig,
  type PortConfig,
  type Role,
  type SocketConfig,
  type ThreadsConfig,
  type Topology,
  type VhostUserConfig,
} from "./config/topology.ts";

// A switch in this process.
export type { DropReason, PortCounters } from "./src/control/counters.ts";
export type { Peer, PortEvent, WorkerEvent } from "./src/control/events.ts";
export type { DhcpEvent } from "./src/dhcp/server.ts";
export { type PortReport, Switch, type SwitchEvents } from "./src/control/switch.ts";
export type { PortState } from "./src/control/switch_port.ts";
export type { WorkerStatistics } from "./src/control/worker_pool.ts";
export type { State } from "./src/dataplane/state.ts";
export type { PollMode } from "./src/poll/poll_loop.ts";

// vhost-user, free of I/O.
export { type Reply, VhostUserBackend } from "./src/vhost_user/backend.ts";
export type {
  BackendDevice,
  BackendOffer,
  DirtyLog,
  MemoryRegion,
  RingSetup,
  SharedPart,
} from "./src/vhost_user/device.ts";
export { ProtocolError, RequestRefused } from "./src/vhost_user/errors.ts";
export {
  type Conversation,
  type FrontendRing,
  type FrontendSetup,
  type FrontendWish,
  type Negotiated,
  type Step,
  VhostUserFrontend,
} from "./src/vhost_user/frontend.ts";
export { type Descriptor, encode, type Message, MessageDecoder } from "./src/vhost_user/message.ts";
export * from "./src/vhost_user/numbers.ts";

// Virtqueues, the driver's side.
export type { DriverRing } from "./src/virtio/driver_ring.ts";
export {
  type Buffer,
  DriverVirtqueue,
  type DriverVirtqueueOptions,
  type UsedChain,
  UsedRingError,
} from "./src/virtio/driver_virtqueue.ts";
export * from "./src/virtio/features.ts";
export { placeRing, type RingPlaces } from "./src/virtio/layouts.ts";
export { PackedDriverVirtqueue } from "./src/virtio/packed_driver_virtqueue.ts";
export { placePackedRing } from "./src/virtio/packed_layouts.ts";

// A front-end with memory of its own, for a thread that may wait.
export { BackendGone, BackendSilent, converse } from "./src/host/converse.ts";
export { type FrameHandler, Nic } from "./src/host/nic.ts";
export { Fd } from "./ffi/fd.ts";
export { connectUnix } from "./ffi/unix_socket.ts";
export { OsError } from "./ffi/errno.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));
