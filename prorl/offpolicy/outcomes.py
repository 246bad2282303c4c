"""What may become of a shown item, as a log names it. Imports nothing, so that a service may use it too."""

ACCEPTED, REFUSED, LEFT, UNANSWERED = "accepted", "refused", "left", "unanswered"
OUTCOMES = (ACCEPTED, REFUSED, LEFT, UNANSWERED)
