// All modules are registered: the application starts. `Debug` is what wa-js takes for "the app is booting".
window.Debug = { VERSION: require('WAWebBuildConstants').VERSION_STR };
require('SandboxQr');
require('SandboxPasskey').start();
require('SandboxNews').start();
require('SandboxView').start();
require('SandboxSession').start();
