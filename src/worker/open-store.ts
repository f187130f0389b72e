// The store of a deployment, where its variables say that the records are.
import { markerKey } from '../kit/sealed-with.ts'
import type { Environment } from './environment.ts'
import type { RecordObject } from './object.ts'
import { createObjectStore, type ObjectStore } from './store.ts'

/** Throws RangeError for a jurisdiction in which the records are not. */
export const openStore = async (
  namespace: DurableObjectNamespace<RecordObject>,
  { LOCATION_HINT: locationHint, JURISDICTION: jurisdiction }: Environment,
  now: () => number,
): Promise<ObjectStore> => {
  if (!jurisdiction) return createObjectStore(namespace, { now, locationHint: locationHint || undefined })
  const store = createObjectStore(namespace, { now, locationHint: locationHint || undefined, jurisdiction })
  // In another jurisdiction every object is another one, and what the former ones keep would be lost without a word.
  if (!(await store.get(markerKey)) && (await createObjectStore(namespace, { now }).get(markerKey)))
    throw new RangeError(
      'JURISDICTION – the data of this Worker was created without a jurisdiction and would not be found. Remove the variable, or deploy under another name.',
    )
  return store
}
