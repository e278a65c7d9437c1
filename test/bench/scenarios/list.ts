import { coldDownload } from './cold.ts';
import { manifestsDuringFill } from './during-fill.ts';
import { IDLE, START } from './footprint.ts';
import { hotDownloads, hotRequests } from './hot.ts';
import { farPull, gigabitPull } from './pulls.ts';
import type { ContestantName, Goal, Scenario } from './scenario.ts';
import { blobTarget, digestTarget, tagTarget } from './targets.ts';

const atLeast = (against: ContestantName, ratio: number): Goal => ({ against, bound: { atLeast: ratio } });
const atMost = (against: ContestantName, ratio: number): Goal => ({ against, bound: { atMost: ratio } });

export const SCENARIOS: readonly Scenario[] = [
  hotRequests({
    name: 'hot-tag',
    title: 'hot manifest by tag, 16 connections',
    target: tagTarget,
    contestants: ['pierhead', 'docker-registry', 'nginx', 'node'],
    goals: [atLeast('docker-registry', 60), atLeast('nginx', 0.5)],
  }),
  hotRequests({
    name: 'hot-tag-sleepless',
    title: 'hot manifest by tag, 16 connections of a client that never sleeps',
    target: tagTarget,
    contestants: ['pierhead', 'nginx', 'node'],
    client: 'never sleeps',
    goals: [{ against: 'node', figure: 'cpu', bound: { atMost: 1.3 } }],
  }),
  hotRequests({
    name: 'hot-digest',
    title: 'hot manifest by digest, 16 connections',
    target: digestTarget,
    goals: [atLeast('docker-registry', 20), atLeast('nginx', 0.5)],
  }),
  hotRequests({
    name: 'hot-small-blob',
    title: 'hot blob of 200 kB, 16 connections',
    target: blobTarget('smallBlob'),
    goals: [atLeast('docker-registry', 12), atLeast('nginx', 0.7)],
  }),
  hotDownloads({
    name: 'hot-large-blob',
    title: 'hot blob of 512 MB, 4 connections',
    target: blobTarget('largeBlob'),
    goals: [
      atLeast('docker-registry', 2.5),
      atLeast('nginx', 1),
      { against: 'docker-registry', figure: 'cpu', bound: { atMost: 0.4 } },
    ],
  }),
  coldDownload({
    name: 'cold-large-blob',
    title: 'cold blob of 512 MB, 1 client',
    clients: 1,
    goals: [
      { figure: 'mainCpu', bound: { atMost: 1.4 } },
      { against: 'docker-registry', figure: 'cpu', bound: { atMost: 0.6 } },
      atMost('docker-registry', 1.2),
      atMost('nginx', 1.4),
    ],
  }),
  coldDownload({
    name: 'cold-large-blob-tls',
    title: 'cold blob of 512 MB, 1 client, upstream by TLS',
    clients: 1,
    place: 'tls',
    contestants: ['pierhead', 'docker-registry'],
    needs: ['openssl'],
    goals: [{ figure: 'mainCpu', bound: { atMost: 2 } }],
  }),
  coldDownload({
    name: 'cold-herd',
    title: 'cold blob of 512 MB, 64 clients at once',
    clients: 64,
    goals: [
      { figure: 'upstreamShare', bound: { atMost: 1 } },
      atMost('docker-registry', 0.25),
      atMost('nginx', 0.6),
    ],
  }),
  coldDownload({
    name: 'cold-gigabit',
    title: 'cold blob of 512 MB, upstream at 1 Gbit/s',
    clients: 1,
    place: 'gigabit',
    contestants: ['pierhead', 'docker-registry', 'nginx', 'direct'],
    goals: [atMost('direct', 1.03)],
  }),
  manifestsDuringFill({
    name: 'hot-tag-during-fill',
    title: 'hot manifest by tag at half the peak rate while a fill of up to 1 GB/s runs, 99th percentile',
    place: 'torrent',
    goals: [{ bound: { atMost: 20 } }],
  }),
  manifestsDuringFill({
    name: 'hot-tag-during-line-fill',
    title: 'hot manifest by tag at 2,000/s while a fill of 125 MB/s runs, 99th percentile',
    place: 'line',
    contestants: ['pierhead', 'nginx'],
    perSecond: 2000,
    goals: [{ bound: { atMost: 8 } }],
  }),
  gigabitPull('cold'),
  gigabitPull('hot'),
  farPull('off'),
  farPull('manifests', ['pierhead', 'docker-registry']),
  START,
  IDLE,
];
