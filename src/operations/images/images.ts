import { formatImageName, parseImageName, type ImageName } from '../../oci/image-name.ts';
import type { Images } from '../../store/images.ts';
import { ImageError } from '../../store/images.ts';
import {
  OperationError,
  type ImageRequest,
  type Pinned,
  type RemovedImage,
  type Unpinned,
} from '../protocol.ts';

/** Pins, unpins and removes single images. All methods throw OperationError. */
export class ImageOperations {
  readonly #images: Images;

  constructor(images: Images) {
    this.#images = images;
  }

  pin(request: ImageRequest): Promise<Pinned> {
    return onImage(request, async ({ repository, reference }, image) => {
      await this.#images.pin(repository, reference);
      return { image };
    });
  }

  unpin(request: ImageRequest): Promise<Unpinned> {
    return onImage(request, async ({ repository, reference }, image) => ({
      image,
      wasPinned: await this.#images.unpin(repository, reference),
    }));
  }

  remove(request: ImageRequest): Promise<RemovedImage> {
    return onImage(request, async ({ repository, reference }, image) => ({
      image,
      ...(await this.#images.remove(repository, reference)),
    }));
  }
}

async function onImage<T>(
  { image }: ImageRequest,
  act: (name: ImageName, image: string) => Promise<T>,
): Promise<T> {
  const name = parseImageName(image);
  if (name === undefined)
    throw new OperationError('usage', `${JSON.stringify(image)} is not the name of an image`);
  try {
    return await act(name, formatImageName(name));
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    throw new OperationError(error.code === 'unknown' ? 'not-found' : 'failed', error.message, error);
  }
}
