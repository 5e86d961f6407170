/**
 * What came of killing the switch: counts, and how long no frame arrived.
 *
 * @module
 */
import { spreadOf } from "../../bench/report.ts";

/** What one kill cost. */
export interface Outage {
  /** From the kill to the first frame that arrived again, in milliseconds. */
  readonly firstFrameMs: number;
  /** From the kill until every queue had moved, in milliseconds. */
  readonly allQueuesMs: number;
  /** From the kill to the line `ready` of the next switch, in milliseconds. */
  readonly readyMs: number;
}

/** What was counted. */
export interface KillReport {
  /** Switches that were killed. */
  kills: number;
  /** Those of them that were still starting. */
  earlyKills: number;
  /** One for each switch that was started again and left alone until frames flowed. */
  readonly outages: Outage[];
  /** Names of queues that stood still for ever. */
  readonly stuckQueues: string[];
  /** Guests that ended or did not answer. */
  guestsLost: number;
  /** TCP connections that ended. */
  connectionsLost: number;
}

/** A report of nothing. */
export function emptyReport(): KillReport {
  return {
    kills: 0,
    earlyKills: 0,
    outages: [],
    stuckQueues: [],
    guestsLost: 0,
    connectionsLost: 0,
  };
}

/** Makes one report of several. */
export function addReports(reports: readonly KillReport[]): KillReport {
  const sum = emptyReport();
  for (const report of reports) {
    sum.kills += report.kills;
    sum.earlyKills += report.earlyKills;
    sum.outages.push(...report.outages);
    sum.stuckQueues.push(...report.stuckQueues);
    sum.guestsLost += report.guestsLost;
    sum.connectionsLost += report.connectionsLost;
  }
  return sum;
}

/** Whether something was lost for ever. */
export function hasLosses(report: KillReport): boolean {
  return report.stuckQueues.length + report.guestsLost + report.connectionsLost > 0;
}

/**
 * Writes a report for a person.
 *
 * @param title What it is about.
 * @param report The report.
 */
export function renderReport(title: string, report: KillReport): string {
  const { kills, earlyKills, outages, stuckQueues, guestsLost, connectionsLost } = report;
  const lines = [
    `${title}: ${kills} kills (${earlyKills} while starting), ${stuckQueues.length} stuck queues, ` +
    `${guestsLost} guests lost, ${connectionsLost} TCP connections lost`,
    ...stuckQueues.map((name) => `  stuck: ${name}`),
  ];
  if (outages.length === 0) return lines.join("\n");
  const spread = (what: string, pick: (outage: Outage) => number): string => {
    const { median, max } = spreadOf(outages.map(pick));
    return `  ${what}  median ${median.toFixed(0)} ms, worst ${max.toFixed(0)} ms`;
  };
  return [
    ...lines,
    spread("kill to first frame ", ({ firstFrameMs }) => firstFrameMs),
    spread("kill to all queues  ", ({ allQueuesMs }) => allQueuesMs),
    spread("kill to ready       ", ({ readyMs }) => readyMs),
    spread("ready to first frame", ({ firstFrameMs, readyMs }) => firstFrameMs - readyMs),
  ].join("\n");
}
