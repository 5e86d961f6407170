/**
 * Checks that a driver can attach and that its frames are taken, for each set of features.
 *
 * @module
 */
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../virtio/features.ts";
import { Request, VHOST_USER_PROTOCOL_F_MQ } from "../../vhost_user/numbers.ts";
import type { Check, Target } from "../check.ts";
import { Driver, type DriverWish, type SendOptions } from "../driver.ts";
import { Deviation, NotOffered } from "../verdict.ts";
import { FORMATS, PLAIN_PACKED, PLAIN_SPLIT, withDriver } from "./formats.ts";

/** More than a ring has entries, so that its indexes go round. */
const BURSTS = 6;
const BURST = 16;
const NO_FEATURES = 0n;

/** The checks. */
export const ATTACH_CHECKS: readonly Check[] = [
  ...FORMATS.map(({ id, name, features }) => ({
    id: `attach-${id}`,
    title: `frames are taken: ${name}`,
    clause: id.startsWith("split") ? "VIRTIO 1.2, 2.7.14" : "VIRTIO 1.2, 2.8.22",
    run: (target: Target) => carries(target, { features }),
  })),
  {
    id: "attach-mrg-rxbuf",
    title: "frames are taken: mrg_rxbuf",
    clause: "VIRTIO 1.2, 5.1.6",
    run: (target) => {
      return carries(target, {
        features: PLAIN_SPLIT.features | featureSet(VIRTIO_NET_F_MRG_RXBUF),
      });
    },
  },
  {
    id: "attach-legacy",
    title: "frames are taken: legacy, header of 10 bytes",
    clause: "VIRTIO 1.2, 5.1.6.1",
    run: (target) => legacy(target, NO_FEATURES),
  },
  {
    id: "attach-legacy-mrg-rxbuf",
    title: "frames are taken: legacy, mrg_rxbuf",
    clause: "VIRTIO 1.2, 5.1.6.1",
    run: (target) => legacy(target, featureSet(VIRTIO_NET_F_MRG_RXBUF)),
  },
  {
    id: "attach-plain",
    title: "frames are taken without any protocol feature",
    clause: "vhost-user, Ring states",
    run: (target) => carries(target, { protocolFeatures: 0n }),
  },
  ...[PLAIN_SPLIT, PLAIN_PACKED].flatMap(({ id, name, features }) => [
    {
      id: `chain-${id}`,
      title: `a chain of two descriptors is taken: ${name}`,
      clause: id === "split" ? "VIRTIO 1.2, 2.7.5" : "VIRTIO 1.2, 2.8.6",
      run: (target: Target) => carries(target, { features }, { shape: "chain" }),
    },
    {
      id: `indirect-${id}`,
      title: `indirect descriptors are taken: ${name}`,
      clause: id === "split" ? "VIRTIO 1.2, 2.7.5.3" : "VIRTIO 1.2, 2.8.7",
      run: (target: Target) => {
        const wish = { features: features | featureSet(VIRTIO_F_INDIRECT_DESC) };
        return carries(target, wish, { shape: "chain", isIndirect: true });
      },
    },
  ]),
  {
    id: "second-pair",
    title: "frames are taken on the second queue pair",
    clause: "vhost-user, Multiple queue support",
    run: async (target) => {
      const features = PLAIN_SPLIT.features | featureSet(VIRTIO_NET_F_MQ);
      await requirePairs(target, 2n);
      return await withDriver(target, { features, queuePairs: 2 }, async (driver) => {
        await carry(driver, {});
        driver.useSecondPair();
        return await carry(driver, {});
      });
    },
  },
  {
    id: "reconnect",
    title: "a driver can attach again after hanging up",
    clause: "vhost-user, Communication",
    run: async (target) => {
      await carries(target, {});
      return await carries(target, {});
    },
  },
];

async function carries(
  target: Target,
  wish: Partial<DriverWish>,
  options: SendOptions = {},
): Promise<string> {
  return await withDriver(target, wish, (driver) => carry(driver, options));
}

async function carry(driver: Driver, options: SendOptions): Promise<string> {
  for (let i = 0; i < BURSTS; i++) await driver.exchange(BURST, options);
  return `${driver.sent} sent, ${driver.received().length} received`;
}

async function requirePairs(target: Target, wanted: bigint): Promise<void> {
  using session = await target.open();
  const protocolFeatures = featureSet(VHOST_USER_PROTOCOL_F_MQ);
  session.requireProtocol(protocolFeatures);
  session.negotiateProtocol(protocolFeatures);
  const pairs = await session.askNumber(Request.GET_QUEUE_NUM);
  if (pairs < wanted) throw new NotOffered(`it has ${pairs} queue pair`);
}

// VIRTIO 1.2, 6.2: a device may refuse a driver without VERSION_1.
async function legacy(target: Target, features: bigint): Promise<string> {
  {
    using session = await target.open();
    session.require(features);
    try {
      await session.negotiate({ features, protocolFeatures: 0n });
      await session.settle();
    } catch (error) {
      if (!(error instanceof Deviation)) throw error;
      throw new NotOffered(`it wants version_1: ${error.message}`);
    }
  }
  return await carries(target, { features });
}
