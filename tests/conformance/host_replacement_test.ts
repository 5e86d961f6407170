/**
 * The thread of the host ports dies of a fault of ours, and the hosts go on.
 *
 * @module
 */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { parseMac } from "../../src/ethernet/frame.ts";
import { parseIpv4 } from "../../src/ethernet/ipv4.ts";
import { parseIpv6 } from "../../src/ethernet/ipv6.ts";
import { breakHostRing } from "../support/broken_host.ts";
import { eventually } from "../support/eventually.ts";
import { arpOf, arpRequest } from "../support/host_frames.ts";
import { countDescriptors } from "../support/leaks.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";

const HOST_IP = parseIpv4("10.0.0.1");
const GUEST = {
  mac: parseMac("52:54:00:00:bb:02"),
  ip: parseIpv4("10.0.0.2"),
  ip6: parseIpv6("fd00::2"),
};

Deno.test("Host ports get a new thread when theirs dies, and the switch says whose fault it was", async () => {
  await using lab = await TestLab.open({ ports: ["a"], hosts: { h1: "address: 10.0.0.1/24" } });
  const before = countDescriptors();
  breakHostRing();
  const isReplaced = () => lab.workerEvents.length > 0 || null;
  await eventually("a new thread", isReplaced);
  const [event, ...others] = lab.takeWorkerEvents();
  deepStrictEqual([event?.kind, others], ["hosts-replaced", []]);
  match(event!.reason, /Cannot take chain 9999: it is not outstanding/);
  deepStrictEqual(lab.events, [{ kind: "disconnected", port: "h1", reason: null }]);
  strictEqual(lab.report("h1").state, "up");
  const guest = await TestGuest.attach(lab.path("a"));
  guest.send(arpRequest(GUEST, HOST_IP));
  deepStrictEqual(arpOf(await guest.receive()).senderIp, HOST_IP);
  guest.vanish();
  await lab.idle("a");
  const isBack = () => countDescriptors() <= before || null;
  await eventually("the dead thread's descriptors are closed", isBack);
});
