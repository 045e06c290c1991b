// The profile's memory: one IndexedDB, written with durability "strict". Writes that come while a
// transaction runs share the next one, so that many messages a second cost few syncs.
__d('SandboxDatabase', [], (exports) => {
  // wa-js reads messages from a database of this name by this index
  const NAME = 'model-storage';
  const STORES = {
    device: { keyPath: 'key' },
    people: { keyPath: 'pn' },
    chat: { keyPath: 'id' },
    message: { keyPath: 'sid' },
  };
  const MESSAGE_INDEXES = { rowId: 'rowId', unsent: 'unsent', chat: ['chat', 'rowId'] };

  const upgrade = (db) => {
    for (const [name, options] of Object.entries(STORES)) {
      const store = db.createObjectStore(name, options);
      if (name === 'message') for (const [index, path] of Object.entries(MESSAGE_INDEXES)) store.createIndex(index, path);
    }
  };

  const opened = new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => upgrade(request.result);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

  const answer = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  const commit = async (batch) => {
    const transaction = (await opened).transaction(Object.keys(STORES), 'readwrite', { durability: 'strict' });
    for (const { operations } of batch) {
      for (const { store, put, del, clear } of operations) {
        const target = transaction.objectStore(store);
        if (clear) target.clear();
        else if (del !== undefined) target.delete(del);
        else target.put(put);
      }
    }
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  };

  let waiting = [];
  let committing = false;
  const drain = async () => {
    committing = true;
    while (waiting.length) {
      const batch = waiting;
      waiting = [];
      try {
        await commit(batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    committing = false;
  };

  // each operation is {store, put: row} | {store, del: key} | {store, clear: true}; resolves once all are on disk
  exports.write = (...operations) => {
    if (!operations.length) return Promise.resolve();
    return new Promise((resolve, reject) => {
      waiting.push({ operations, resolve, reject });
      if (!committing) drain();
    });
  };

  const reading = async (store) => (await opened).transaction(store, 'readonly').objectStore(store);
  exports.get = async (store, key) => answer((await reading(store)).get(key));
  exports.all = async (store) => answer((await reading(store)).getAll());
  exports.byIndex = async (store, index, query) => answer((await reading(store)).index(index).getAll(query));

  // the `count` rows with the greatest index keys, least first
  exports.newest = async (store, index, count) => {
    const source = (await reading(store)).index(index);
    return new Promise((resolve, reject) => {
      const rows = [];
      const request = source.openCursor(null, 'prev');
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || rows.length >= count) return resolve(rows.reverse());
        rows.push(cursor.value);
        cursor.continue();
      };
    });
  };

  exports.wipe = () => exports.write(...Object.keys(STORES).map((store) => ({ store, clear: true })));
});
