import { FAR, GIGABIT } from './places.ts';
import { programVersion } from './programs.ts';

export interface MethodOptions {
  readonly repeats: number;
  readonly seconds: number;
  /** A line each. */
  readonly contestants: string;
}

const mbits = (bytesPerSecond: number): string => `${(bytesPerSecond * 8) / 1e6} Mbit/s`;

/** How the comparison was measured, in Markdown. */
export const METHOD = ({ repeats, seconds, contestants }: MethodOptions): string => `## How it was measured

Figures are medians of ${repeats} measurements, with the smallest and the largest; contestants took turns. A
ratio is Pierhead's figure divided by the peer's: above 1 is better for rates, below 1 for times. Upstream, the
contestant and the client share this machine and its loopback interface, so cold figures say what each costs in
processor time rather than what a network would allow.

Upstream is ${programVersion('docker-registry')} on a directory. Requests are counted by \`wrk\` with one thread for
${seconds} s after a warm-up. Blobs of 512 MB are downloaded by one \`curl\`; cold ones from its start to its
exit, on an empty cache that has seen the manifests only. Before each measurement what is served is compared with its
digest, and a hot one fails if upstream had to send any of the blob. What upstream sent comes from its access log.
On a machine with two cores the client has one of them: a server that needs little processor time for large blobs
is held back by its client, and the table of processor time tells more than the rate.

Processor time is that of all processes of a server. Of Node it is told by thread, too; what all of them have more than the
threads together, threads used that have ended. The client that never sleeps asks the kernel for answers without a pause, as
\`wrk\` does not: it need not be woken, which on a virtual machine costs the server an interrupt for each answer.
\`node\` is \`test/bench/bare-server.mjs\`. TLS upstream is an nginx before the same registry.

While a fill runs, manifests are asked for at half the rate that each contestant reached alone, or at 2,000/s, on 64
connections and evenly spaced, whether or not the ones before have been answered, and timed from when each was due. Their
client is written in C and, as root, goes before all others on its processor, so that its own waiting is not measured. The
fill comes from an nginx that sends files without blocks by \`sendfile\`, at no more than 1 GB/s, or at 125 MB/s in pieces of
250 kB, and a \`curl\` reads along; the three others share the processors, so the rate that the fill reaches is part of the
result. Each server has filled a blob before.

Pulls are those of a Docker Engine with an empty store. \`direct\` is upstream in the place of a mirror. Upstream at
1 Gbit/s is behind a relay that takes half a round trip of ${GIGABIT.roundTripMs} ms each way, a whole one to connect, and
lets ${mbits(GIGABIT.bytesPerSecond)} through, of all connections together; the far one has ${FAR.roundTripMs} ms and
${mbits(FAR.bytesPerSecond)}, and like Docker Hub it sends who asks for a blob on to another host. Relay, engine and its
unpacking share this machine too.

A server is ready when \`GET /v2/\` is answered, which is asked every 10 ms. Resident memory is that of all processes of a
server, files that it has mapped included.

${contestants}
- clients: ${programVersion('wrk')}; ${programVersion('curl')}`;
