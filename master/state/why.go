package state

func (m *Master) why(in Why) { m.answer(in.Token, 501, "") }
