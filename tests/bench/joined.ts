/**
 * Two systems under test, one behind the other: the first is labswitch, which plays the guest of the
 * second.
 *
 *     generator port 0 ─ labswitch ─ (front-end) socket (back-end) ─ the other system ─ generator port 1
 *
 * Both have the core of one, so each frame is switched twice there.
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
export const labswitchToOvs: System = behindLabswitch("beyond", ovsDpdk);
/** labswitch in front of DPDK's vhost driver in testpmd, which forwards without looking. */
export const labswitchToVhostPmd: System = behindLabswitch("beyond", testpmdIo);

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
      for (const { name } of lab.topology.ports) await lab.awaitLine(new RegExp(`${name}  up`));
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
