import fc from 'fast-check';
import { describe, it } from 'vitest';
import { openTestSpace } from '../../support/space.ts';
import { SpaceModel, type SpaceAction, type SpaceWorld } from '../../support/space-model.ts';

const LIMIT = 1000;
const IMAGES = 6;
const BLOBS = 8;

const image = fc.nat({ max: IMAGES - 1 });
const blob = fc.nat({ max: BLOBS - 1 });

const world: fc.Arbitrary<SpaceWorld> = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 300 }), { minLength: BLOBS, maxLength: BLOBS }),
  images: fc.array(fc.uniqueArray(blob, { minLength: 1, maxLength: 4 }), {
    minLength: IMAGES,
    maxLength: IMAGES,
  }),
});

const action: fc.Arbitrary<SpaceAction> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('pull'), image }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('list'),
      images: fc.uniqueArray(image, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('pin', 'unpin', 'remove'), image }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('fetch', 'hold', 'release'), blob }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('want'), bytes: fc.nat({ max: LIMIT + 100 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait'), hours: fc.constant(2) }) },
);

describe('whatever is pulled, pinned, held, removed and wanted in whatever order', () => {
  it.each([true, false])(
    'the limit holds, images go whole and by their age, and none that must not (upstream can refill: %s)',
    async (canRefill) => {
      await fc.assert(
        fc.asyncProperty(world, fc.array(action, { minLength: 5, maxLength: 40 }), async (parts, actions) => {
          const test = await openTestSpace({ blobLimit: LIMIT });
          test.canRefill = canRefill;
          const model = new SpaceModel(test, parts);
          for (const each of actions) await model.act(each);
          await test.close();
        }),
        { numRuns: 40 },
      );
    },
    60_000,
  );
});
