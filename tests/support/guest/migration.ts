/**
 * Live migration: a running guest moves from one QEMU to another.
 *
 * The guest's memory is sent in passes: first all of it, then what was written meanwhile. What the
 * guest wrote QEMU knows; what the switch wrote it learns from the switch's log of dirty pages. So a
 * migration in one pass would prove little, and whoever asks for more passes gets them: as long as
 * they are not done the guest may stand still for no time at all, which QEMU cannot keep.
 *
 * Source: QEMU, docs/devel/migration/main.rst; qapi/migration.json.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Guest } from "./guest.ts";
import type { Qmp } from "./qmp.ts";

/** Bytes per second as long as more passes are wanted: slow enough for much to be written meanwhile. */
const SLOW_BYTES = 64 * 2 ** 20;
/** Then: no limit that a socket of this machine could meet. */
const FAST_BYTES = 2 ** 34;
/** The least that makes QEMU look again what is dirty before it stops the guest. */
const NO_DOWNTIME_MS = 1;
/** QEMU's own default. */
const DOWNTIME_MS = 300;
const TIMEOUT_MS = 60_000;
const POLL_MS = 10;

/** What is wanted of a migration. */
export interface MigrationPlan {
  /** Folder for the socket between both QEMUs; the caller owns and removes it. */
  readonly folder: string;
  /** How often the memory's dirty pages are to be collected before the guest may be stopped. */
  readonly passes?: number;
}

/** How a migration went. */
export interface MigrationReport {
  /** How often dirty pages were collected, the last time with the guest stopped. */
  readonly passes: number;
  /** Pages that were sent more than once. */
  readonly resentPages: number;
  /** All pages. */
  readonly pages: number;
  /** From the first page to the last. */
  readonly totalMs: number;
  /** How long the guest stood still while the rest was sent, as QEMU says. */
  readonly downtimeMs: number;
  /** When the guest was stopped, in milliseconds since 1970. */
  readonly stoppedAtMs: number;
}

/** The part of `query-migrate` that is used here. */
interface MigrationInfo {
  readonly status: string;
  readonly "error-desc"?: string;
  readonly "total-time"?: number;
  readonly downtime?: number;
  readonly ram?: {
    readonly total: number;
    readonly normal: number;
    readonly duplicate: number;
    readonly "page-size": number;
    readonly "dirty-sync-count": number;
  };
}

/**
 * Moves a guest. Afterwards the first QEMU still runs, with the guest as it was when it left.
 *
 * @param from Where it runs.
 * @param to Where it goes, from `Guest.expect`.
 * @param plan How.
 * @throws {Error} When QEMU gives up, or does not finish in time.
 */
export async function migrate(
  from: Guest,
  to: Guest,
  { folder, passes }: MigrationPlan,
): Promise<MigrationReport> {
  using source = await from.connectQmp();
  const uri = `unix:${join(folder, "migration")}`;
  await to.qmp("migrate-incoming", { uri });
  if (passes !== undefined) await limit(source, SLOW_BYTES, NO_DOWNTIME_MS);
  await source.execute("migrate", { uri });
  if (passes !== undefined) {
    await follow(source, (info) => passesOf(info) >= passes);
    await limit(source, FAST_BYTES, DOWNTIME_MS);
  }
  return report(source, await follow(source, ({ status }) => status === "completed"));
}

async function limit(qmp: Qmp, bandwidth: number, downtimeMs: number): Promise<void> {
  const limits = { "max-bandwidth": bandwidth, "downtime-limit": downtimeMs };
  await qmp.execute("migrate-set-parameters", limits);
}

async function follow(qmp: Qmp, isThere: (info: MigrationInfo) => boolean): Promise<MigrationInfo> {
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    const info = await qmp.execute("query-migrate") as MigrationInfo;
    if (isThere(info)) return info;
    const isOver = ["completed", "failed", "cancelled"].includes(info.status);
    if (isOver || performance.now() > deadline) {
      throw new Error(`Cannot migrate the guest any further: ${JSON.stringify(info)}`);
    }
    await delay(POLL_MS);
  }
}

function passesOf({ ram }: MigrationInfo): number {
  return ram?.["dirty-sync-count"] ?? 0;
}

function report({ events }: Qmp, info: MigrationInfo): MigrationReport {
  const { total, normal, duplicate, "page-size": pageBytes } = info.ram!;
  const pages = total / pageBytes;
  return {
    passes: passesOf(info),
    resentPages: normal + duplicate - pages,
    pages,
    totalMs: info["total-time"]!,
    downtimeMs: info.downtime!,
    stoppedAtMs: events.find(({ name }) => name === "STOP")!.atMs,
  };
}
