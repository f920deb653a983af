// WRITTEN FROM THE DOCUMENTATION OF HIVEMQ'S EXTENSION SDK 4, NOT RUN.
//
// An extension for HiveMQ 4 (also the Community Edition): gives each account its own name as Response Information, and no
// account another one's client IDs. Put it into a project made from HiveMQ's hello-world extension, as its main class.
// Passwords and rights are those of HiveMQ's File RBAC Extension: see credentials.xml.
package org.example.hearthd;

import com.hivemq.extension.sdk.api.ExtensionMain;
import com.hivemq.extension.sdk.api.annotations.NotNull;
import com.hivemq.extension.sdk.api.packets.connect.ConnackReasonCode;
import com.hivemq.extension.sdk.api.packets.connect.ConnectPacket;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartOutput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopOutput;
import com.hivemq.extension.sdk.api.services.Services;

public class Fleet implements ExtensionMain {

    private static final String HOME = "hearthd.home";

    @Override
    public void extensionStart(final @NotNull ExtensionStartInput input, final @NotNull ExtensionStartOutput output) {
        // CONNACK does not tell the account, so it is kept with the connection.
        Services.interceptorRegistry().setConnectInboundInterceptorProvider(provider -> (connectInput, connectOutput) -> {
            final ConnectPacket connect = connectInput.getConnectPacket();
            final String home = connect.getUserName().orElse("");
            if (connect.getRequestResponseInformation()) {
                connectInput.getConnectionInformation().getConnectionAttributeStore().putAsString(HOME, home);
            }
            // HiveMQ knows a session by its client ID alone. Names of accounts have no `-`, and client IDs begin with
            // `ACCOUNT-`; another one is put below the account.
            final String clientId = connect.getClientId();
            if (!clientId.startsWith(home + "-")) {
                connectOutput.getConnectPacket().setClientId(home + "-" + clientId);
            }
        });
        Services.interceptorRegistry().setConnackOutboundInterceptorProvider(provider -> (connackInput, connackOutput) -> {
            if (connackInput.getConnackPacket().getReasonCode() != ConnackReasonCode.SUCCESS) {
                return;
            }
            connackInput.getConnectionInformation().getConnectionAttributeStore().getAsString(HOME)
                    .ifPresent(home -> connackOutput.getConnackPacket().setResponseInformation(home));
        });
    }

    @Override
    public void extensionStop(final @NotNull ExtensionStopInput input, final @NotNull ExtensionStopOutput output) {
    }
}
