"""What a headers word, which `parse` makes of a frame, says beside layers."""

from fajita.kernel.arithmetic import shift_right_unsigned
from fajita.kernel.function import kernel_function
from fajita.kernel.parse import IP_SHIFT, OFFSET_MASK, PROTOCOL_SHIFT, TRANSPORT_SHIFT


@kernel_function
def protocol_of(headers):
    """The IP protocol, of IPv6 after the extension headers; 0 where there is none."""
    return shift_right_unsigned(headers, PROTOCOL_SHIFT)


@kernel_function
def offset_of_ip(headers):
    """Bytes from the beginning of the frame to the IP header."""
    return (headers >> IP_SHIFT) & OFFSET_MASK


@kernel_function
def offset_of_transport(headers):
    """The same to the transport header."""
    return (headers >> TRANSPORT_SHIFT) & OFFSET_MASK
