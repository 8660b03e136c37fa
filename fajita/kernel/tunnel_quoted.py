"""What a chain about the packets inside tunnels takes instead of the functions of `quoted` that have these names."""

from fajita.kernel.quoted import quoted_functions
from fajita.kernel.tunnel_fields import captured_inside

globals().update(quoted_functions(captured_inside))
