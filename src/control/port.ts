/**
 * A vhost-user port: endpoint, connection, back-end and device put together.
 *
 * It owns the order of things: a peer comes, a back-end is made for it, its guest's rings start and
 * stop, it leaves, everything it brought is released, the next one may come.
 *
 * Runs on the main thread.
 *
 * @module
 */
import { signalEventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { C_CLOSED_CONNECTIONS, C_REFUSED_REQUESTS, RING_FAULT } from "../dataplane/state_layout.ts";
import { ringAt, ringNumber, type State } from "../dataplane/state.ts";
import { type BackendOffer, VhostUserBackend } from "../vhost_user/backend.ts";
import { Request } from "../vhost_user/numbers.ts";
import { REQUESTS } from "../vhost_user/requests.ts";
import type { Announcer } from "./announcer.ts";
import { Connection } from "./connection.ts";
import { readCounters } from "./counters.ts";
import type { Endpoint, EndpointEvents } from "./endpoint.ts";
import type { PortEvent } from "./events.ts";
import { faultText } from "./faults.ts";
import { PortDevice } from "./port_device.ts";
import { Mistakes } from "./mistakes.ts";
import type { PortMemory } from "./port_memory.ts";
import type { BridgeMembers } from "./bridge_members.ts";
import { PeerPlace } from "./peer_place.ts";
import type { Reactor } from "./reactor.ts";
import { endpointEvents, type PortState, type SwitchPort } from "./switch_port.ts";
import type { WorkerPool } from "./worker_pool.ts";

/** Refused requests of one connection that are reported. */
const MAX_REPORTED_REFUSALS = 10;
/** The request that starts a ring. */
const START_REQUEST = REQUESTS[Request.SET_VRING_KICK].name;
/** Looks at a port whose guest has no memory before that is reported: a second or two. */
const LOOKS_BEFORE_MEMORY_HINT = 6;

/** What a port is made of. */
export interface PortParts {
  /** The port's number. */
  readonly number: number;
  /** Its name in the topology. */
  readonly name: string;
  /** The bridge that it is in. */
  readonly bridge: number;
  /** Makes what gives it connections. */
  readonly makeEndpoint: (events: EndpointEvents) => Endpoint;
  /** What the back-end offers. */
  readonly offer: BackendOffer;
  /** The state memory. */
  readonly state: State;
  /** The port's memory. */
  readonly memory: PortMemory;
  /** The poll Workers. */
  readonly workers: WorkerPool;
  /** Who gets flooded frames. */
  readonly members: BridgeMembers;
  /** The descriptor loop. */
  readonly reactor: Reactor;
  /** Tells every port where a station is. */
  readonly announcer: Announcer;
  /** Told what a person wants to know. */
  readonly onEvent: (event: PortEvent) => void;
}

/** One vhost-user port. */
export class Port implements SwitchPort {
  /** Its name in the topology. */
  readonly name: string;
  /** Its number. */
  readonly number: number;
  readonly #parts: PortParts;
  readonly #device: PortDevice;
  readonly #endpoint: Endpoint;
  readonly #reportedFaults = new Map<number, number>();
  readonly #place: PeerPlace<Connection>;
  #backend: VhostUserBackend | null = null;
  /** Looks since the guest's driver is ready without memory to work on. */
  #looksWithoutMemory = 0;
  /** Requests refused on this connection. */
  #refusals = 0;
  readonly #mistakes: Mistakes;
  #isClosing = false;

  /** @param parts What it works with. */
  constructor(parts: PortParts) {
    this.name = parts.name;
    this.number = parts.number;
    this.#parts = parts;
    this.#mistakes = new Mistakes(() =>
      readCounters(parts.state, parts.number, parts.workers.count)
    );
    this.#device = new PortDevice({
      port: parts.number,
      bridge: parts.bridge,
      state: parts.state,
      memory: parts.memory,
      workers: parts.workers,
      members: parts.members,
      announce: (address) => parts.announcer.announce(parts.number, address),
      // The same fault again is a fault of its own.
      onSound: (index) => void this.#reportedFaults.delete(index),
      onLink: (isUp) => this.#onLink(isUp),
    });
    this.#place = new PeerPlace(parts.name, parts.onEvent);
    const onPeer = (socket: Fd) => this.#attach(socket);
    this.#endpoint = parts.makeEndpoint(endpointEvents(parts, this.#place, onPeer));
  }

  /** What the port is doing. */
  get state(): PortState {
    const { connection, foreign } = this.#place;
    if (connection === null) return foreign.isClosing ? "connected" : "waiting";
    return this.#device.isUp ? "up" : "connected";
  }

  /** Begins to listen or to connect. */
  open(): void {
    this.#endpoint.open();
  }

  /** Ends the connection and the endpoint. */
  close(): void {
    this.#isClosing = true;
    this.#place.connection?.close();
    this.#endpoint.close();
  }

  /** Waits until everything is closed that front-ends gave; may take for ever. */
  async settled(): Promise<void> {
    await this.#place.foreign.closed();
  }

  /** Looks for what a person should know; called by the switch's clock, several times a second. */
  check(): void {
    if (this.#place.connection === null) return;
    if (this.#parts.memory.wasTaken()) {
      return this.#place.connection.close(new Error("pages of the guest's memory are gone"));
    }
    this.#reportFaults();
    this.#reportMistakes();
    this.#reportMissingMemory();
  }

  /** Ends the wait of a Worker that is stuck in calling this port's guest. */
  relieveCalls(): void {
    this.#device.relieveCalls();
  }

  /** Writes the records of this port's rings anew, after a Worker died. */
  restoreRings(): void {
    this.#device.restoreRings();
  }

  // Rings that a Worker quarantined since the last look.
  #reportFaults(): void {
    for (let index = 0; index < 2 * this.#parts.offer.queuePairs; index++) {
      const at = ringAt(ringNumber(this.#parts.number, index)) + RING_FAULT;
      const fault = this.#parts.state.load32(at);
      if (fault === (this.#reportedFaults.get(index) ?? 0)) continue;
      this.#reportedFaults.set(index, fault);
      if (fault === 0) continue;
      const err = this.#backend?.errorEventFd(index) ?? null;
      if (err !== null) signalEventFd(err.number);
      this.#parts.onEvent({ kind: "ring-fault", port: this.name, index, text: faultText(fault) });
    }
  }

  // Chains that were dropped since this front-end came.
  #reportMistakes(): void {
    const text = this.#mistakes.news();
    if (text !== null) this.#parts.onEvent({ kind: "chains-dropped", port: this.name, text });
  }

  // QEMU sends no memory table when none of the guest's memory is shared, and says so only on its own
  // terminal. A driver that is ready has sent its features just before its memory.
  #reportMissingMemory(): void {
    const isMissing = this.#device.features !== 0n && this.#parts.memory.regions.length === 0;
    this.#looksWithoutMemory = isMissing ? this.#looksWithoutMemory + 1 : 0;
    if (this.#looksWithoutMemory !== LOOKS_BEFORE_MEMORY_HINT) return;
    this.#parts.onEvent({ kind: "no-memory", port: this.name });
  }

  // A front-end may go on for ever with what is refused; nobody reads more than a few lines of that.
  #reportRefusal(request: string, reason: string): void {
    this.#parts.state.countOne(this.number, C_REFUSED_REQUESTS);
    if (++this.#refusals > MAX_REPORTED_REFUSALS) return;
    // A front-end that adds regions one by one adds none and goes on.
    if (request === START_REQUEST && this.#parts.memory.regions.length === 0) {
      return this.#parts.onEvent({ kind: "no-memory", port: this.name });
    }
    const isLast = this.#refusals === MAX_REPORTED_REFUSALS;
    this.#parts.onEvent({
      kind: "request-refused",
      port: this.name,
      request,
      reason: isLast ? `${reason}; further ones are not reported` : reason,
    });
  }

  #attach(accepted: Fd): void {
    const { offer, reactor } = this.#parts;
    const { foreign } = this.#place;
    const backend = new VhostUserBackend(
      this.#device,
      offer,
      (request, reason) => this.#reportRefusal(request, reason),
    );
    const onEnd = (reason: Error | null) => this.#detach(reason);
    const peer = this.#place.take(
      accepted,
      (socket) => new Connection({ socket, backend, foreign, reactor, onEnd }),
    );
    if (peer === null) return;
    this.#backend = backend;
    this.#mistakes.begin();
    this.#parts.onEvent({ kind: "connected", port: this.name, peer });
  }

  #detach(reason: Error | null): void {
    // What it did just before it left.
    if (!this.#isClosing) this.check();
    this.#place.leave();
    this.#backend = null;
    this.#looksWithoutMemory = 0;
    this.#refusals = 0;
    this.#device.detach();
    this.#reportedFaults.clear();
    if (reason !== null) this.#parts.state.countOne(this.number, C_CLOSED_CONNECTIONS);
    if (!this.#isClosing) {
      this.#parts.onEvent({
        kind: "disconnected",
        port: this.name,
        reason: reason?.message ?? null,
      });
      this.#endpoint.released(true);
    }
  }

  #onLink(isUp: boolean): void {
    if (this.#isClosing) return;
    const { memory, name } = this.#parts;
    if (!isUp) return this.#parts.onEvent({ kind: "down", port: name });
    this.#parts.onEvent({
      kind: "up",
      port: name,
      features: this.#device.features,
      memoryBytes: memory.sizeBytes,
      regions: memory.regions.length,
    });
  }
}
