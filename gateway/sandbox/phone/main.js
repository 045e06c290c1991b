// The phone page: everything is drawn anew from what the sandbox says.
import * as chats from './chats.js';
import * as linking from './linking.js';
import { follow } from './model.js';
import * as switches from './switches.js';

chats.start();
await switches.start();
follow(() => {
  linking.draw();
  chats.draw();
  switches.draw();
});
