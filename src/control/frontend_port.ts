/**
 * A port that leads to another vhost-user back-end: endpoint, connection, front-end and driver put
 * together. Inside, it is a port like a guest's.
 *
 * Each connection begins with fresh rings and fresh memory. Frames that a back-end had not finished
 * when it left are lost, as on any wire; none is sent twice, and nothing that the old back-end still
 * does can reach the new one's.
 *
 * A back-end that breaks the rules of a ring is left, and met again after a pause that grows.
 *
 * Runs on the main thread.
 *
 * @module
 */
import type { Fd } from "../../ffi/fd.ts";
import type { State } from "../dataplane/state.ts";
import { C_CLOSED_CONNECTIONS } from "../dataplane/state_layout.ts";
import { VhostUserFrontend } from "../vhost_user/frontend.ts";
import type { BridgeMembers } from "./bridge_members.ts";
import { readCounters } from "./counters.ts";
import type { Endpoint, EndpointEvents } from "./endpoint.ts";
import type { Peer, PortEvent } from "./events.ts";
import { backendFaultText } from "./faults.ts";
import { FrontendConnection } from "./frontend_connection.ts";
import { DRIVER_FEATURES, FrontendDevice } from "./frontend_device.ts";
import { Mistakes } from "./mistakes.ts";
import type { PortMemory } from "./port_memory.ts";
import { PeerPlace } from "./peer_place.ts";
import type { Reactor } from "./reactor.ts";
import { endpointEvents, type PortState, type SwitchPort } from "./switch_port.ts";
import type { WorkerPool } from "./worker_pool.ts";

/** What a port is made of. */
export interface FrontendPortParts {
  /** The port's number. */
  readonly number: number;
  /** Its name in the topology. */
  readonly name: string;
  /** The bridge that it is in. */
  readonly bridge: number;
  /** Makes what gives it connections. */
  readonly makeEndpoint: (events: EndpointEvents) => Endpoint;
  /** Queue pairs. */
  readonly queuePairs: number;
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
  /** Told what a person wants to know. */
  readonly onEvent: (event: PortEvent) => void;
}

/** A back-end that stays so long works: when it leaves, the pause before the next one is short again. */
const STEADY_MS = 1000;

/** One port to a back-end. */
export class FrontendPort implements SwitchPort {
  readonly name: string;
  readonly number: number;
  readonly #parts: FrontendPortParts;
  readonly #device: FrontendDevice;
  readonly #mistakes: Mistakes;
  readonly #endpoint: Endpoint;
  readonly #place: PeerPlace<FrontendConnection>;
  /** Why the last connection could not be used; the same reason again is not reported. */
  #lastReason: string | null = null;
  /** When frames began to flow. */
  #upSince = 0;
  #isClosing = false;

  /** @param parts What it works with. */
  constructor(parts: FrontendPortParts) {
    this.name = parts.name;
    this.number = parts.number;
    this.#parts = parts;
    this.#device = new FrontendDevice({ ...parts, port: parts.number });
    this.#mistakes = new Mistakes(() =>
      readCounters(parts.state, parts.number, parts.workers.count)
    );
    this.#place = new PeerPlace(parts.name, parts.onEvent);
    const onPeer = (socket: Fd) => this.#attach(socket);
    this.#endpoint = parts.makeEndpoint(endpointEvents(parts, this.#place, onPeer));
  }

  get state(): PortState {
    const { connection, foreign } = this.#place;
    if (connection === null) return foreign.isClosing ? "connected" : "waiting";
    return this.#device.isUp ? "up" : "connected";
  }

  open(): void {
    this.#endpoint.open();
  }

  close(): void {
    this.#isClosing = true;
    this.#place.connection?.close();
    this.#endpoint.close();
  }

  async settled(): Promise<void> {
    await this.#place.foreign.closed();
  }

  check(): void {
    if (!this.#device.isUp) return;
    this.#reportMistakes();
    const found = this.#device.fault();
    if (found === null) return;
    this.#place.connection?.close(
      new Error(`ring ${found.index}: ${backendFaultText(found.fault)}`),
    );
  }

  relieveCalls(): void {
    this.#device.relieveCalls();
  }

  restoreRings(): void {
    // A dead Worker's rings are marked as lost, and the next check finds them.
    this.check();
  }

  #attach(accepted: Fd): void {
    const { reactor, queuePairs } = this.#parts;
    const { foreign } = this.#place;
    const onEnd = (reason: Error | null) => this.#detach(reason);
    const peer = this.#place.take(
      accepted,
      (socket) => new FrontendConnection({ socket, foreign, reactor, onEnd }),
    );
    if (peer === null) return;
    const connection = this.#place.connection!;
    const frontend = new VhostUserFrontend();
    connection.hold(
      frontend.negotiate({ features: DRIVER_FEATURES, queuePairs }),
      ({ features }) => {
        const { regions, rings } = this.#device.prepare(features);
        connection.hold(frontend.start(regions, rings), () => this.#start(features, peer));
      },
    );
  }

  #start(features: bigint, peer: Peer): void {
    this.#mistakes.begin();
    this.#device.start();
    this.#lastReason = null;
    this.#upSince = performance.now();
    this.#parts.onEvent({ kind: "connected", port: this.name, peer });
    const { memory } = this.#parts;
    this.#parts.onEvent({
      ...{ kind: "up", port: this.name, features },
      ...{ memoryBytes: memory.sizeBytes, regions: memory.regions.length },
    });
  }

  // Said once for each back-end.
  #reportMistakes(): void {
    const text = this.#mistakes.news();
    if (text !== null) this.#parts.onEvent({ kind: "chains-dropped", port: this.name, text });
  }

  #detach(reason: Error | null): void {
    const wasUp = this.#device.isUp;
    // What it did just before it left.
    if (wasUp && !this.#isClosing) this.#reportMistakes();
    this.#place.leave();
    this.#device.stop();
    if (reason !== null) this.#parts.state.countOne(this.number, C_CLOSED_CONNECTIONS);
    if (this.#isClosing) return;
    // A back-end that is met again and again, and never works, is not news each time.
    const text = reason?.message ?? (wasUp ? null : "the back-end hung up before it was ready");
    if (wasUp || text !== this.#lastReason) {
      this.#parts.onEvent({ kind: "disconnected", port: this.name, reason: text });
    }
    this.#lastReason = text;
    const isSteady = wasUp && performance.now() - this.#upSince >= STEADY_MS;
    this.#endpoint.released(isSteady && reason === null);
  }
}
