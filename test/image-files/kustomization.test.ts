import { describe, expect, it } from 'vitest';
import { changedImage } from '../../src/image-files/kustomization.ts';
import { formatListedImage, parseListedImage } from '../../src/oci/image-name.ts';
import { source } from '../support/source-context.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;
function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('there is none');
  return value;
}

describe('a kustomization', () => {
  it('goes on in what it is made of, with what becomes of the images there', () => {
    const text = `resources: [deployment.yaml, ../base, "https://example.com/x.yaml", "github.com/org/repo//base?ref=v1"]
components: [../common]
images:
- { name: nginx, newName: ghcr.io/acme/nginx, newTag: "1.27" }
- { name: app, digest: "${DIGEST}" }
helmCharts: [{ name: x }]
patches: [{ path: p.yaml }]
`;
    const { images, problems, notes, further } = source('overlay/kustomization.yaml', text);
    expect(images).toEqual([]);
    const changes = [
      { name: 'nginx', newName: 'ghcr.io/acme/nginx', newTag: '1.27' },
      { name: 'app', digest: DIGEST },
    ];
    expect(further).toEqual(
      [
        ['deployment.yaml', 1],
        ['../base', 1],
        ['../common', 2],
      ].map(([path, line]) => ({ path, place: `overlay/kustomization.yaml:${line}`, changes })),
    );
    expect(problems).toEqual([
      'overlay/kustomization.yaml:1: "https://example.com/x.yaml" is not read; name its images in a list',
      'overlay/kustomization.yaml:1: "github.com/org/repo//base?ref=v1" is not read; name its images in a list',
      'overlay/kustomization.yaml:6: helmCharts is not read; name its images in a list',
    ]);
    expect(notes).toEqual([
      'overlay/kustomization.yaml:7: patches is not applied: images that it sets are not checked',
    ]);
  });

  it.each([
    ['nginx', 'ghcr.io/acme/nginx:1.27'],
    ['nginx:1.25', 'ghcr.io/acme/nginx:1.27'],
    ['nginx-unprivileged:1.25', 'nginx-unprivileged:1.25'],
    ['docker.io/library/nginx:1.25', 'docker.io/library/nginx:1.25'],
    ['app:dev', `app@${DIGEST}`],
    ['other:1', 'renamed:1'],
    [`other@${DIGEST}`, `renamed@${DIGEST}`],
    ['localhost:5000/other:1', 'localhost:5000/other:1'],
  ])('makes of %s %s', (before, after) => {
    const [needed] = source('pod.yaml', `kind: Pod\nspec: { containers: [{ image: "${before}" }] }\n`).images;
    const changes = [
      { name: 'nginx', newName: 'ghcr.io/acme/nginx', newTag: '1.27' },
      { name: 'app', digest: DIGEST },
      { name: 'other', newName: 'renamed' },
    ];
    const changed = needed === undefined ? undefined : changedImage(needed, changes);
    expect(changed?.spelling).toBe(after);
    expect(changed === undefined ? '' : formatListedImage(changed.image)).toBe(
      formatListedImage({ ...required(parseListedImage(after)), platforms: [] }),
    );
  });
});
