/**
 * Checks of frames that the back-end sends. It cannot be made to: they say nothing where no frame comes.
 *
 * @module
 */
import { ETHERNET } from "../../ethernet/frame.ts";
import {
  featureSet,
  hasFeature,
  HEADER_BYTES,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../virtio/features.ts";
import type { Check } from "../check.ts";
import { type Driver, RECEIVE, type Received, UNWRITTEN } from "../driver.ts";
import { Deviation, NotOffered } from "../verdict.ts";
import { comesTrue, pause, QUIET_MS } from "../waiting.ts";
import { type Format, PLAIN_PACKED, PLAIN_SPLIT, requireEnables, withDriver } from "./formats.ts";

/** How long a frame is waited for. */
const RECEIVE_MS = 500;
const BURST = 8;
const UNWRITTEN_NUMBER = UNWRITTEN << 8 | UNWRITTEN;
const MERGEABLE: Format = {
  ...PLAIN_SPLIT,
  id: "mrg-rxbuf",
  name: "mrg_rxbuf",
  features: PLAIN_SPLIT.features | featureSet(VIRTIO_NET_F_MRG_RXBUF),
};

/** The checks. */
export const RECEIVE_CHECKS: readonly Check[] = [
  ...[PLAIN_SPLIT, PLAIN_PACKED, MERGEABLE].map(buffers),
  {
    id: "receive-offloads",
    title: "a received frame needs nothing that was not negotiated",
    clause: "VIRTIO 1.2, 5.1.6.4.1",
    run: (target) =>
      withDriver(target, {}, async (driver) => {
        const found = await someFrames(driver);
        const wrong = found.find(({ header }) => header.flags !== 0 || header.gso_type !== 0);
        if (wrong === undefined) return `${found.length} received`;
        const { flags, gso_type } = wrong.header;
        throw new Deviation(`flags ${flags} and gso_type ${gso_type}, not 0`);
      }),
  },
  {
    id: "receive-disabled",
    title: "a disabled receive ring gets nothing",
    clause: "vhost-user, Ring states",
    run: async (target) => {
      await requireEnables(target);
      return await withDriver(target, {}, async (driver) => {
        await someFrames(driver);
        await driver.enable(false, RECEIVE);
        return await staysQuiet(driver, "disabled");
      });
    },
  },
  {
    id: "receive-stopped",
    title: "a stopped receive ring gets nothing",
    clause: "vhost-user, Ring states",
    run: (target) =>
      withDriver(target, {}, async (driver) => {
        await someFrames(driver);
        await driver.stop(RECEIVE);
        return await staysQuiet(driver, "stopped");
      }),
  },
];

// What was on its way when the ring was stopped or disabled is taken first.
async function staysQuiet(driver: Driver, state: string): Promise<string> {
  const before = driver.received().length;
  await pause(QUIET_MS);
  const after = driver.received().length;
  if (after === 0) return `${before} received before, none in ${QUIET_MS} ms`;
  throw new Deviation(`${after} received into a ${state} ring`);
}

function buffers({ id, name, features }: Format): Check {
  const isMergeable = hasFeature(features, VIRTIO_NET_F_MRG_RXBUF);
  return {
    id: `receive-${id}`,
    title: `a received frame tells its buffers: ${name}`,
    clause: "VIRTIO 1.2, 5.1.6.4.1",
    run: (target) =>
      withDriver(target, { features }, async (driver) => {
        const found = await someFrames(driver);
        const { length, header } = found[0]!;
        if (length < HEADER_BYTES + ETHERNET.size) {
          throw new Deviation(`${length} bytes received are no frame`);
        }
        const most = isMergeable ? found.length : 1;
        const { num_buffers } = header;
        if (num_buffers >= 1 && num_buffers <= most) return `${found.length} received`;
        const seen = num_buffers === UNWRITTEN_NUMBER ? "not written" : num_buffers;
        throw new Deviation(`num_buffers ${seen}, want 1${isMergeable ? " or more" : ""}`);
      }),
  };
}

async function someFrames(driver: Driver): Promise<Received[]> {
  await driver.exchange(BURST);
  const found: Received[] = [];
  const waitMs = Math.min(RECEIVE_MS, driver.session.timeoutMs);
  if (await comesTrue(() => found.push(...driver.received()) > 0, waitMs)) return found;
  throw new NotOffered(`no frame came in ${waitMs} ms`);
}
