import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import {
  answerIn,
  echoArguments,
  forwarderArguments,
  generatorArguments,
  type GeneratorOptions,
  parsePortStats,
  parseQueueFrames,
} from "../../support/testpmd.ts";
import type { DpdkMemory } from "../../support/hugepages.ts";

/** As printed by testpmd 22.11. */
const TWO_PORTS = `show port stats all

  ######################## NIC statistics for port 0  ########################
  RX-packets: 4997024    RX-missed: 1          RX-bytes:  319809536
  RX-errors: 2
  RX-nombuf:  3         
  TX-packets: 4997248    TX-errors: 0          TX-bytes:  319824960

  Throughput (since last show)
  Rx-pps:            0          Rx-bps:            0
  Tx-pps:            0          Tx-bps:            0
  ############################################################################

  ######################## NIC statistics for port 1  ########################
  RX-packets: 12345678901 RX-missed: 0          RX-bytes:  790123449664
  RX-errors: 0
  RX-nombuf:  0         
  TX-packets: 7          TX-errors: 0          TX-bytes:  448

  Throughput (since last show)
  Rx-pps:      4899368          Rx-bps:   2508480376
  Tx-pps:      4899378          Tx-bps:   2508479008
  ############################################################################
`;

const hugePages: DpdkMemory = { kind: "huge-pages", [Symbol.dispose]() {} };
const normalPages: DpdkMemory = { kind: "normal-pages", [Symbol.dispose]() {} };

const generator: GeneratorOptions = {
  sockets: ["/run/a", "/run/b"],
  listening: false,
  segmentSizes: [64],
  queues: 1,
  memory: hugePages,
  core: 1,
};

/** As printed by testpmd 22.11, shortened. */
const TWO_QUEUES = `show port xstats all
###### NIC extended statistics for port 0 
rx_good_packets: 9
rx_q0_good_packets: 4
rx_q0_good_bytes: 256
rx_q1_good_packets: 5
tx_q0_good_packets: 12345678901
###### NIC extended statistics for port 1 
rx_q0_good_packets: 0
`;

Deno.test("parseQueueFrames reads the frames of every queue of every port", () => {
  deepStrictEqual(
    [...parseQueueFrames(TWO_QUEUES)],
    [
      ["port 0 rx 0", 4],
      ["port 0 rx 1", 5],
      ["port 0 tx 0", 12_345_678_901],
      ["port 1 rx 0", 0],
    ],
  );
});

Deno.test("parseQueueFrames refuses an answer without queues", () => {
  throws(() => parseQueueFrames("Invalid port"), SyntaxError);
});

Deno.test("parsePortStats reads every counter of every port", () => {
  deepStrictEqual(parsePortStats(TWO_PORTS), [
    {
      port: 0,
      rxFrames: 4_997_024,
      rxBytes: 319_809_536,
      rxErrors: 6,
      txFrames: 4_997_248,
      txBytes: 319_824_960,
    },
    {
      port: 1,
      rxFrames: 12_345_678_901,
      rxBytes: 790_123_449_664,
      rxErrors: 0,
      txFrames: 7,
      txBytes: 448,
    },
  ]);
});

Deno.test("parsePortStats refuses an answer without ports", () => {
  throws(() => parsePortStats("show port stats all\r\n"), /no port/);
});

Deno.test("parsePortStats refuses a block without a counter", () => {
  throws(() => parsePortStats(TWO_PORTS.replace("RX-nombuf:  3", "")), /no RX-nombuf/);
});

Deno.test("generatorArguments addresses each port's frames to the other port", () => {
  const args = generatorArguments(generator, "unique");
  const vdev = args.find((arg) => arg.startsWith("--vdev=net_virtio_user0,"));
  ok(vdev?.includes("path=/run/a,mac=02:00:00:00:00:01,server=0,queues=1"));
  ok(args.includes("--eth-peer=0,02:00:00:00:00:02"));
  ok(args.includes("--eth-peer=1,02:00:00:00:00:01"));
  ok(args.includes("--file-prefix=unique"));
  ok(args.includes("--lcores=0@1,1@1"));
});

Deno.test("generatorArguments leaves ring choices out unless they are made", () => {
  const line = generatorArguments(generator, "unique").join(" ");
  ok(!/queue_size|packed_vq|mrg_rxbuf|in_order|vectorized/.test(line));
  const ring = {
    queueSize: 512,
    packed: true,
    mergeableBuffers: false,
    inOrder: false,
    vectorized: true,
  };
  const chosen = generatorArguments({ ...generator, ring }, "unique").join(" ");
  ok(chosen.includes(",queue_size=512,packed_vq=1,mrg_rxbuf=0,in_order=0,vectorized=1"));
});

Deno.test("generatorArguments allows chains only where frames have several buffers", () => {
  const offload = "--tx-offloads=0x8000";
  ok(!generatorArguments(generator, "unique").includes(offload));
  const chained = generatorArguments({ ...generator, segmentSizes: [64, 512, 900] }, "unique");
  ok(chained.includes(offload));
  ok(chained.includes("--txpkts=64,512,900"));
  const small = generatorArguments({ ...generator, bufferSizeBytes: 768 }, "unique");
  ok(small.includes(offload));
  ok(small.includes("--mbuf-size=768"));
});

Deno.test("generatorArguments listens where the switch connects", () => {
  const args = generatorArguments({ ...generator, listening: true }, "unique");
  strictEqual(args.filter((arg) => arg.includes("server=1")).length, 2);
});

Deno.test("forwarderArguments pairs two vhost ports", () => {
  const args = forwarderArguments({ ...generator, queues: 2, core: 0 }, "unique");
  ok(args.includes("--vdev=net_vhost0,iface=/run/a,queues=2"));
  ok(args.includes("--vdev=net_vhost1,iface=/run/b,queues=2"));
  ok(args.includes("--port-topology=paired"));
  ok(args.includes("--forward-mode=io"));
  ok(args.includes("--lcores=0@0,1@0"));
});

Deno.test("forwarderArguments names the pages to use", () => {
  ok(forwarderArguments(generator, "unique").includes("--single-file-segments"));
  const normal = forwarderArguments({ ...generator, memory: normalPages }, "unique");
  ok(normal.includes("--no-huge"));
  ok(!normal.includes("--single-file-segments"));
});

Deno.test("echoArguments has one port that sends every frame back", () => {
  const args = echoArguments({ socket: "/run/a", queues: 2, memory: normalPages, core: 0 }, "test");
  ok(args.includes("--vdev=net_vhost0,iface=/run/a,queues=2"));
  ok(args.includes("--forward-mode=io"));
  ok(args.includes("--port-topology=loop"));
});

Deno.test("answerIn finds the answer before the prompt, and none without one", () => {
  strictEqual(answerIn("show\n1 2 3\ntestpmd> "), "show\n1 2 3\n");
  strictEqual(answerIn("show\n1 2 3\ntestpm"), undefined);
});

Deno.test("answerIn finds a prompt into which another thread has printed events", () => {
  const [zero, one] = [0, 1].map((port) => `\nPort ${port}: link state change event\n`);
  strictEqual(answerIn(`1 2 3\nte${zero}stpmd> ${one}`), "1 2 3\n");
  strictEqual(answerIn(`1 ${one}2 3\ntestpm${zero}${one}d> `), "1 2 3\n");
  strictEqual(answerIn(`1 2 3\nte${zero}stpm`), undefined);
  // One that is not complete yet hides the prompt until the rest is there.
  strictEqual(answerIn("1 2 3\nte\nPort 0: link state"), undefined);
});
