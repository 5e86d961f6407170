/**
 * Two Linux guests in QEMU with a TCP connection in each direction. Both ends of a connection sum up
 * what went through it.
 *
 * @module
 */
import type { Role } from "../../../config/topology.ts";
import { Guest, type GuestOptions, missingForGuests } from "../../support/guest/guest.ts";
import { backportedQemu, installedQemu, type Qemu } from "../../support/guest/qemu.ts";
import type { Labswitch } from "../../support/labswitch.ts";
import type { Load, LoadKind, Losses } from "./load.ts";

/** How the guests are connected. */
export interface GuestLoadOptions {
  /** Who listens: `server` is the switch, and QEMU connects again (`reconnect=`). */
  readonly role: Role;
  /** Packed instead of split rings. */
  readonly isPacked: boolean;
  /** Which QEMU runs them. */
  readonly qemu: "installed" | "backported";
}

const QEMUS: Readonly<Record<GuestLoadOptions["qemu"], Qemu | undefined>> = {
  installed: await installedQemu(),
  backported: await backportedQemu(),
};
const PORTS = ["vm1", "vm2"];
/** TCP port of the connections. */
const TCP_PORT = 9000;
/** Time between two pings, in seconds: what shows the end of an outage, as TCP waits ever longer. */
const PING_SECONDS = 0.02;
/** Programs of each guest that end with their connection: it sends through one and receives by one. */
const CONNECTIONS_PER_GUEST = 2;
/** More bytes than pings send while a queue is given for stuck, so TCP must have sent them. */
const SLACK_BYTES = 1_000_000;
/** How long an emulated guest may take to sum up what is left in its pipes. */
const FINISH_MS = 60_000;
const STATISTICS = "/sys/class/net/eth0/statistics";

/**
 * Makes a kind of load.
 *
 * @param options The guests.
 */
export function guestLoad({ role, isPacked, qemu }: GuestLoadOptions): LoadKind {
  const rings = isPacked ? "packed" : "split";
  const version = QEMUS[qemu]?.version.major ?? qemu;
  const ports = PORTS.map((name) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, role: ${role} }\n`
  );
  return {
    name: `guests in QEMU ${version}, ${rings} rings, switch as ${role}`,
    topology: `version: 1\nports:\n${ports.join("")}`,
    bearsEarlyKills: true,
    missing: () => QEMUS[qemu] === undefined ? `QEMU (${qemu})` : missingForGuests(),
    start: (lab, folder) => {
      const device = `packed=${isPacked ? "on" : "off"}`;
      return GuestLoad.start(lab, { folder, device, qemu: QEMUS[qemu]! });
    },
  };
}

class GuestLoad implements Load {
  readonly slack = SLACK_BYTES;
  readonly #guests: readonly Guest[];
  readonly #resources: AsyncDisposableStack;

  private constructor(guests: readonly Guest[], resources: AsyncDisposableStack) {
    this.#guests = guests;
    this.#resources = resources;
  }

  static async start(
    lab: Labswitch,
    options: Pick<GuestOptions, "folder" | "device" | "qemu">,
  ): Promise<GuestLoad> {
    await using stack = new AsyncDisposableStack();
    const starts = PORTS.map(async (name, i) => {
      const port = lab.port(name);
      return stack.use(await Guest.start({ ...options, port, address: `10.0.0.${i + 1}/24` }));
    });
    // A guest that fails must not leave the other one behind.
    const results = await Promise.allSettled(starts);
    for (const result of results) if (result.status === "rejected") throw result.reason;
    const guests = await Promise.all(starts);
    const load = new GuestLoad(guests, stack);
    await load.#startTraffic();
    return new GuestLoad(guests, stack.move());
  }

  async received(): Promise<number> {
    const counts = await this.#each((guest) => guest.receivedFrames());
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async queues(): Promise<ReadonlyMap<string, number>> {
    const counts = await this.#each(async (guest, i) => {
      const text = await guest.must(`cat ${STATISTICS}/rx_bytes ${STATISTICS}/tx_bytes`);
      const [rx, tx] = text.split(/\s+/).map(Number);
      return [[`${PORTS[i]} receive`, rx!], [`${PORTS[i]} transmit`, tx!]] as const;
    });
    return new Map(counts.flat());
  }

  async losses(): Promise<Losses> {
    const counts = await this.#each(async (guest) => {
      try {
        const { text } = await guest.run("pidof nc");
        const alive = text.split(/\s+/).filter((pid) => pid !== "").length;
        return { guests: 0, connections: CONNECTIONS_PER_GUEST - alive };
      } catch {
        return { guests: 1, connections: 0 };
      }
    });
    return {
      guests: counts.reduce((sum, { guests }) => sum + guests, 0),
      connections: counts.reduce((sum, { connections }) => sum + connections, 0),
    };
  }

  async finish(): Promise<void> {
    await this.#each((guest) => guest.must("killall ping; touch /tmp/stop"));
    await this.#each((guest) => guest.must("wait", FINISH_MS));
    const sums = await this.#each(async (guest) => ({
      sent: await guest.must("cat /tmp/sent"),
      received: await guest.must("cat /tmp/received"),
    }));
    for (const [i, { sent }] of sums.entries()) {
      const { received } = sums[1 - i]!;
      if (sent === received && sent !== "") continue;
      throw new Error(`${PORTS[i]} sent ${sent}, but ${received} arrived`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #startTraffic(): Promise<void> {
    await this.#each(async (guest) => {
      // A pipe that nobody writes to: at the end of its input nc would end the connection.
      await guest.must("mkfifo /tmp/silence");
      await guest.must(`nc -l -p ${TCP_PORT} <>/tmp/silence | sha256sum >/tmp/received &`);
    });
    await this.#each(async (guest, i) => {
      const { ip } = this.#guests[1 - i]!;
      await guest.must("dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null");
      await guest.must("mkfifo /tmp/copy");
      await guest.must("sha256sum </tmp/copy >/tmp/sent &");
      const blocks = "while [ ! -e /tmp/stop ]; do cat /tmp/block; done";
      await guest.must(`(${blocks}) | tee /tmp/copy | nc ${ip} ${TCP_PORT} >/dev/null &`);
      await guest.must(`ping -i ${PING_SECONDS} ${ip} >/dev/null &`);
    });
  }

  #each<T>(what: (guest: Guest, index: number) => Promise<T>): Promise<T[]> {
    return Promise.all(this.#guests.map(what));
  }
}
