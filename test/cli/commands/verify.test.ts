import { describe, expect, it } from 'vitest';
import { verifyJson, verifyText } from '../../../src/cli/commands/verify.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Finding, VerifySummary } from '../../../src/operations/protocol.ts';

describe('what `pierhead verify` prints', () => {
  const digest = `sha256:${'a'.repeat(64)}` as Digest;
  const summary: VerifySummary = {
    blobs: 2,
    manifests: 1,
    bytes: 3_000_000,
    problems: 0,
    repaired: 0,
    adopted: 0,
    durationMs: 2000,
  };
  const finding: Finding = {
    content: 'blob',
    digest,
    problem: 'corrupt',
    size: 5_200_000,
    repositories: ['docker.io/library/a', 'ghcr.io/b'],
    images: ['docker.io/library/a:1', 'ghcr.io/b:2'],
    outcome: 'removed',
    reason: 'upstream is away',
  };

  it('is one line if nothing is wrong', () => {
    expect(verifyText([], summary)).toBe('2 blobs and 1 manifest, 3.0 MB in 2.0 s (1.5 MB/s): all sound\n');
  });

  it('is a table of what is wrong, with a line below', () => {
    expect(verifyText([finding], { ...summary, problems: 1, adopted: 1 })).toBe(
      `PROBLEM       DIGEST${' '.repeat(67)}SIZE    IMAGES                              OUTCOME
corrupt blob  ${digest}  5.2 MB  docker.io/library/a:1, ghcr.io/b:2  removed: upstream is away
2 blobs and 1 manifest, 3.0 MB in 2.0 s (1.5 MB/s): 1 problem, 0 repaired; 1 blob added to the index
`,
    );
  });

  it('names some images of many, and repositories where no image is known', () => {
    const images = ['a:1', 'a:2', 'a:3', 'a:4', 'a:5', 'a:6'];
    expect(verifyText([{ ...finding, images }], summary)).toContain('a:1, a:2, a:3, a:4, and 2 more');
    expect(verifyText([{ ...finding, images: [] }], summary)).toContain('docker.io/library/a, ghcr.io/b');
  });

  it('is one JSON object on demand', () => {
    expect(JSON.parse(verifyJson([finding], summary))).toEqual({ ...summary, findings: [finding] });
  });
});
