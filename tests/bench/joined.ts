/**
 * Two systems under test, one behind the other: the first is labswitch, which plays the guest of the
 * second.
 *
 *     generator port 0 ─ labswitch ─ (front-end) socket (back-end) ─ the other system ─ generator port 1
 *
 * Both have the core of one, so each frame is switched twice there. Two bridges of one labswitch are
 * joined in the same way.
 *
 * @module
 */
import { join } from "node:path";
import { Labswitch } from "../support/labswitch.ts";
import {
  labswitch,
  ovsDpdk,
  type RunningSystem,
  SWITCH_CORE,
  type System,
  type SystemSetting,
  testpmdIo,
} from "./systems.ts";

/** labswitch in front of labswitch. */
export const labswitchJoined: System = behindLabswitch("joined", labswitch);
/** labswitch in front of OVS-DPDK, whose ports connect: so ours listens. */
export const labswitchToOvs: System = behindLabswitch("to-ovs", ovsDpdk);
/** labswitch in front of DPDK's vhost driver in testpmd, which forwards without looking. */
export const labswitchToVhostPmd: System = behindLabswitch("to-io", testpmdIo);
/** Two bridges of one labswitch, which it joins by a socket of its own. */
export const labswitchTwoBridges: System = {
  ...labswitch,
  name: "two-bridges",
  title: "labswitch, two bridges",
  async start({ folder, sockets, queues }) {
    const joint = { socket: join(folder, "joint.sock"), queues };
    const topology = JSON.stringify({
      version: 1,
      bridges: { far: {} },
      ports: {
        near: { type: "vhost-user", socket: sockets[0], queues },
        up: { type: "vhost-user-frontend", ...joint },
        down: { type: "vhost-user", bridge: "far", ...joint },
        far: { type: "vhost-user", socket: sockets[1], queues, bridge: "far" },
      },
    });
    const lab = await Labswitch.start({ folder, topology, core: SWITCH_CORE });
    return {
      awaitLinks: () => linksOf(lab),
      stop: () => lab.stop(),
      [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
    };
  },
};

/** Systems that are measured when they are named. */
export const JOINED_SYSTEMS: readonly System[] = [
  labswitchTwoBridges,
  labswitchJoined,
  labswitchToOvs,
  labswitchToVhostPmd,
];

async function linksOf(lab: Labswitch): Promise<void> {
  for (const { name } of lab.topology.ports) await lab.awaitLine(new RegExp(`${name}  up`));
}

function behindLabswitch(name: System["name"], behind: System): System {
  return {
    name,
    title: `labswitch to ${behind.title}`,
    generatorListens: behind.generatorListens,
    missing: () => behind.missing(),
    start: (setting) => startBoth(setting, behind),
  };
}

async function startBoth(setting: SystemSetting, behind: System): Promise<RunningSystem> {
  await using stack = new AsyncDisposableStack();
  const { folder, sockets } = setting;
  const joint = join(folder, "joint.sock");
  const role = behind.generatorListens ? "client" : "server";
  const topology = JSON.stringify({
    version: 1,
    ports: {
      guest: { type: "vhost-user", socket: sockets[0], role, queues: setting.queues },
      joint: {
        ...{ type: "vhost-user-frontend", socket: joint, queues: setting.queues },
        role: behind.generatorListens ? "server" : "client",
      },
    },
  });
  const other = stack.use(await behind.start({ ...setting, sockets: [joint, sockets[1]] }));
  const inner = await Deno.makeTempDir({ dir: folder, prefix: "near-" });
  const lab = stack.use(await Labswitch.start({ folder: inner, topology, core: SWITCH_CORE }));
  const owned = stack.move();
  const dispose = () => owned.disposeAsync();
  return {
    awaitLinks: async () => {
      await linksOf(lab);
      await other.awaitLinks();
    },
    stop: async () => {
      const workers = await lab.stop();
      await dispose();
      return workers;
    },
    [Symbol.asyncDispose]: dispose,
  };
}
